package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ragstreams/alerts/policy"
	"ragstreams/alerts/rules"
	"ragstreams/metrics"
)

// ruleFiles are the rules and the policy in use. They are read again when a file has
// changed, and when somebody says so: all of them or none. A mistake in one leaves those
// before in use, and is told in the log, in metrics and in the notes of /readyz, until it
// is mended. It is safe for concurrent use.
type ruleFiles struct {
	pattern  string // of rule files
	policy   string // name of a file; "": none
	stages   *stages
	observer *metrics.Alerts

	mu   sync.Mutex
	used inUse
	seen [sha256.Size]byte // of the files that were read last, right or wrong
}

// inUse is what the files say.
type inUse struct {
	set        *rules.Set
	policy     *policy.Policy
	policyText []byte
}

// rulesInterval is how often files are looked at.
const rulesInterval = 5 * time.Second

// open reads the rules for the first time.
func (f *ruleFiles) open() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = f.digest()
	read, err := readRules(f.pattern, f.policy)
	if err != nil {
		return err
	}
	f.use(read)
	return nil
}

// readRules reads rule files and, unless its name is "", a policy.
func readRules(pattern, policyName string) (in inUse, err error) {
	if policyName != "" {
		if in.policyText, err = os.ReadFile(policyName); err != nil {
			return in, fmt.Errorf("alert policy: %w", err)
		}
	}
	var bad error
	in.policy, bad = policy.Parse(policyName, in.policyText)
	in.set, err = rules.Load(pattern)
	return in, errors.Join(err, bad)
}

func (f *ruleFiles) use(read inUse) {
	f.used = read
	f.observer.Rules(read.set.Len(), true)
	f.stages.notes.clear(rulesPart)
}

// current returns the rules and the policy in use.
func (f *ruleFiles) current() inUse {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used
}

// reload reads the rules again.
func (f *ruleFiles) reload(why string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = f.digest()
	read, err := readRules(f.pattern, f.policy)
	if err != nil {
		f.observer.Rules(f.used.set.Len(), false)
		f.stages.notes.set(rulesPart, "the rule files cannot be used, those before are: "+err.Error())
		f.stages.o.Logger.Error("the rule files cannot be used, those before are", "because of", why, "error", err)
		return err
	}
	f.use(read)
	f.stages.o.Logger.Info("rules are read again", "because of", why, "rules", read.set.Len())
	return nil
}

// digest tells files from what they were. What cannot be read is as if it were not
// there: Load says why.
func (f *ruleFiles) digest() (sum [sha256.Size]byte) {
	names, _ := filepath.Glob(f.pattern)
	if f.policy != "" {
		names = append(names, f.policy)
	}
	h := sha256.New()
	for _, name := range names {
		content, _ := os.ReadFile(name)
		fmt.Fprintf(h, "%q %d %s", name, len(content), content)
	}
	h.Sum(sum[:0])
	return sum
}

// watch reloads when a file has changed, and for every value of asked.
func (f *ruleFiles) watch(ctx context.Context, asked <-chan struct{}) error {
	f.stages.status.clear(rulesPart + " files")
	var before [sha256.Size]byte
	for tick := time.Tick(rulesInterval); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
			_ = f.reload("a signal") // it was logged
		case <-tick:
			// A file may be empty, or half of it there, while somebody writes it.
			now := f.digest()
			f.mu.Lock()
			changed := now != f.seen && now == before
			f.mu.Unlock()
			if before = now; changed {
				_ = f.reload("a change of a file")
			}
		}
	}
}

// errNoRules is what is said to who asks for rules or alerts that are not configured.
var errNoRules = errors.New("no rules are configured: set rules to a pattern of file names")

// ServeHTTP implements http.Handler: it reads the rules again, and answers once they
// are in use.
func (f *ruleFiles) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	err := errNoRules
	if f != nil {
		err = f.reload("a request")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	fmt.Fprintf(w, "%d rules are in use\n", f.current().set.Len())
}
