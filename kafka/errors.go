package kafka

import (
	"crypto/tls"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// IsFatal reports whether an error will stay until a person changes something:
// trying again cannot help.
func IsFatal(err error) bool {
	for _, fatal := range []error{
		errFenced,
		kerr.TopicAuthorizationFailed,
		kerr.GroupAuthorizationFailed,
		kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed,
		kerr.SaslAuthenticationFailed,
		kerr.UnsupportedSaslMechanism,
	} {
		if errors.Is(err, fatal) {
			return true
		}
	}
	// Certificates that do not fit: ours is refused, or we refuse the broker's.
	var verification *tls.CertificateVerificationError
	var alert tls.AlertError
	return errors.As(err, &verification) || errors.As(err, &alert)
}
