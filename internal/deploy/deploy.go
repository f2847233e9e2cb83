// Package deploy reads docker-compose.yml, so that tests can hold it to what is there:
// nobody else looks at it before it is used.
package deploy

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// File is the name of the file, in the root of the repository.
const File = "docker-compose.yml"

// Compose is a compose file, as far as this one goes: what it has beyond that is an error.
type Compose struct {
	Root       string `yaml:"-"` // of the repository
	Name       string
	Services   map[string]*Service
	Volumes    map[string]any
	Extensions map[string]any `yaml:",inline"` // x-…
}

// Service is one of its services.
type Service struct {
	Image           string
	Build           string
	Hostname        string
	Profiles        []string
	Entrypoint      []string
	Command         []string
	Environment     map[string]string
	Ports           []string // host address:host port:port
	Volumes         []string // source:target[:ro]
	Healthcheck     Healthcheck
	DependsOn       map[string]Dependency `yaml:"depends_on"`
	Deploy          Deploy
	ReadOnly        bool     `yaml:"read_only"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
	StopGracePeriod string   `yaml:"stop_grace_period"`
	Restart         string
	Logging         map[string]any
}

// Healthcheck tells when a service is healthy.
type Healthcheck struct {
	Test              []string
	Disable           bool
	Interval, Timeout string
	StartPeriod       string `yaml:"start_period"`
	StartInterval     string `yaml:"start_interval"`
}

// Dependency is when a service may start.
type Dependency struct{ Condition string }

// Deploy bounds what a service may use.
type Deploy struct {
	Resources struct {
		Limits struct{ Memory, CPUs string }
	}
}

// Read reads the file of a repository.
func Read(root string) (*Compose, error) {
	data, err := os.ReadFile(filepath.Join(root, File))
	if err != nil {
		return nil, fmt.Errorf("read compose file: %w", err)
	}
	c := &Compose{Root: root}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", File, err)
	}
	for key := range c.Extensions {
		if !strings.HasPrefix(key, "x-") {
			return nil, fmt.Errorf("%s: unknown key %q", File, key)
		}
	}
	return c, nil
}

// variable is one that compose fills in: ${NAME}, ${NAME:?what to do}, ${NAME:-default}.
var variable = regexp.MustCompile(`\$(\$|\{(\w+)(?:(:?[-?+])([^}]*))?\})`)

// Variable is a use of a variable.
type Variable struct{ Name, Operator, Text string }

// Variables returns those of the whole file.
func Variables(root string) ([]Variable, error) {
	data, err := os.ReadFile(filepath.Join(root, File))
	if err != nil {
		return nil, fmt.Errorf("read compose file: %w", err)
	}
	var all []Variable
	for _, m := range variable.FindAllStringSubmatch(string(data), -1) {
		if m[1] != "$" {
			all = append(all, Variable{m[2], m[3], m[4]})
		}
	}
	return all, nil
}

// Environ returns the environment of a service as a process gets it.
func (s *Service) Environ(variables map[string]string) ([]string, error) {
	var environ []string
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		value, err := expand(s.Environment[name], variables)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		environ = append(environ, name+"="+value)
	}
	return environ, nil
}

func expand(text string, variables map[string]string) (string, error) {
	var missing error
	out := variable.ReplaceAllStringFunc(text, func(use string) string {
		m := variable.FindStringSubmatch(use)
		if m[1] == "$" {
			return "$"
		}
		value, ok := variables[m[2]]
		if !ok {
			missing = fmt.Errorf("variable %s is not set", m[2])
		}
		return value
	})
	return out, missing
}

// Mount is a file or folder of the repository, or a named volume, within a service.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Mounts returns those of a service.
func (s *Service) Mounts() ([]Mount, error) {
	var mounts []Mount
	for _, v := range s.Volumes {
		parts := strings.Split(v, ":")
		if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "ro" {
			return nil, fmt.Errorf("volume %s: want source:target or source:target:ro", v)
		}
		mounts = append(mounts, Mount{parts[0], parts[1], len(parts) == 3})
	}
	return mounts, nil
}

// HostPath returns where a path within a service lies in the repository; "" when it is not
// mounted from there.
func (c *Compose) HostPath(s *Service, within string) (string, error) {
	mounts, err := s.Mounts()
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		rest, inside := strings.CutPrefix(path.Clean(within), path.Clean(m.Target))
		if inside && (rest == "" || rest[0] == '/') && strings.HasPrefix(m.Source, "./") {
			return filepath.Join(c.Root, filepath.FromSlash(m.Source+rest)), nil
		}
	}
	return "", nil
}

// Within returns where a file or folder of the repository lies within a service; "" when it
// is not mounted there. It need not exist.
func (s *Service) Within(name string) (string, error) {
	mounts, err := s.Mounts()
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		source, ours := strings.CutPrefix(m.Source, "./")
		rest, inside := strings.CutPrefix(path.Clean(name), path.Clean(source))
		if ours && inside && (rest == "" || rest[0] == '/') {
			return path.Clean(m.Target) + rest, nil
		}
	}
	return "", nil
}
