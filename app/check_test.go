package app

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Who may not do something is told where to read what he needs.
func TestAdvise(t *testing.T) {
	for _, denied := range []error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.ClusterAuthorizationFailed} {
		err := fmt.Errorf("topics: %w", errors.Join(errors.New("another"), fmt.Errorf("topic x: %w", denied)))
		if got := advise(err); !errors.Is(got, denied) || !strings.HasPrefix(got.Error(), err.Error()) || !strings.Contains(got.Error(), "analytics check --acls") {
			t.Errorf("%v", got)
		}
	}
	for _, other := range []error{nil, kerr.SaslAuthenticationFailed, kerr.UnknownTopicOrPartition} {
		if got := advise(other); got != other {
			t.Errorf("%v became %v", other, got)
		}
	}
}
