// Package grafana holds what is shipped for others to read: rules and a policy for
// alerts. It is a package so that the program can show them without files.
package grafana

import _ "embed"

// Rules are the alerting rules that are shipped, a Prometheus rule file.
//
//go:embed rules/ragstreams.yaml
var Rules []byte

// Policy is the alert policy that is shipped.
//
//go:embed alert-policy.yaml
var Policy []byte
