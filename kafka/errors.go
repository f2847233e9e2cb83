package kafka

import (
	"crypto/tls"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// unauthorized are the answers to who may not do what he asks for.
var unauthorized = []error{
	kerr.TopicAuthorizationFailed,
	kerr.GroupAuthorizationFailed,
	kerr.ClusterAuthorizationFailed,
	kerr.TransactionalIDAuthorizationFailed,
}

// IsUnauthorized reports whether the cluster knows who we are, and does not let us do it.
func IsUnauthorized(err error) bool {
	return slices.ContainsFunc(unauthorized, func(one error) bool { return errors.Is(err, one) })
}

// IsFatal reports whether an error will stay until a person changes something:
// trying again cannot help.
func IsFatal(err error) bool {
	if IsUnauthorized(err) || errors.Is(err, errFenced) || errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism) {
		return true
	}
	// Certificates that do not fit: ours is refused, or we refuse the broker's.
	var verification *tls.CertificateVerificationError
	var alert tls.AlertError
	return errors.As(err, &verification) || errors.As(err, &alert)
}
