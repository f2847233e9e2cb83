package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"ragstreams/app"

	"go.yaml.in/yaml/v3"
)

// loadSettings reads the defaults, then the file (when path is not empty), then
// the environment, each over what was before. All mistakes are reported together,
// each with its key, its value and what is accepted.
func loadSettings(path string, environ []string) (*settings, error) {
	s := &settings{app: app.DefaultOptions(), logLevel: "info", logFormat: "text", dataDir: "data"}
	var errs []error
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		errs = append(errs, s.readFile(path, data)...)
	}
	errs = append(errs, s.readEnv(environ)...)
	if s.app.Instance == "" {
		host, err := os.Hostname()
		if err != nil {
			errs = append(errs, fmt.Errorf("instance is empty and the host has no name: %w", err))
		}
		s.app.Instance = host
	}
	if len(errs) == 0 { // a value that did not parse would be reported twice
		errs = s.validate()
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// readFile sets what a YAML file says. Keys may be nested or dotted.
func (s *settings) readFile(path string, data []byte) []error {
	var root yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return []error{fmt.Errorf("%s is not YAML: %w", path, err)}
	}
	var errs []error
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := prefix+n.Content[i].Value, n.Content[i+1]
			one, known := find(key)
			switch {
			case known:
				text, err := scalar(value)
				if err == nil {
					err = one.set(s, text)
				} else {
					err = fmt.Errorf("%s %w", key, err)
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("%s:%d: %w", path, value.Line, err))
				}
			case value.Kind == yaml.MappingNode && isSection(key):
				walk(key+".", value)
			default:
				errs = append(errs, fmt.Errorf("%s:%d: unknown key %q: did you mean %q?", path, n.Content[i].Line, key, nearest(key)))
			}
		}
	}
	if doc := root.Content[0]; doc.Kind == yaml.MappingNode {
		walk("", doc)
	} else if doc.Tag != "!!null" {
		errs = append(errs, fmt.Errorf("%s: want keys and values, such as kafka.brokers: [127.0.0.1:9092]", path))
	}
	return errs
}

// scalar returns a YAML value as text, lists joined by commas.
func scalar(n *yaml.Node) (string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", nil
		}
		return n.Value, nil
	case yaml.SequenceNode:
		var parts []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("holds a list in a list: want plain values")
			}
			parts = append(parts, item.Value)
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("holds keys: want a plain value or a list")
}

// readEnv sets what ANALYTICS_… variables say.
func (s *settings) readEnv(environ []string) []error {
	var errs []error
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "ANALYTICS_") || name == configVariable {
			continue
		}
		i := slices.IndexFunc(allSettings, func(one setting) bool { return one.env() == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("unknown environment variable %s: did you mean %s?", name, nearestEnv(name)))
			continue
		}
		if err := allSettings[i].set(s, value); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
		}
	}
	return errs
}

// configVariable names the configuration file; it is no key.
const configVariable = "ANALYTICS_CONFIG"

func find(key string) (setting, bool) {
	for _, one := range allSettings {
		if one.key == key {
			return one, true
		}
	}
	return setting{}, false
}

func isSection(key string) bool {
	return slices.ContainsFunc(allSettings, func(one setting) bool { return strings.HasPrefix(one.key, key+".") })
}

func nearest(key string) string {
	best := slices.MinFunc(allSettings, func(a, b setting) int { return distance(key, a.key) - distance(key, b.key) })
	return best.key
}

func nearestEnv(name string) string {
	best := slices.MinFunc(allSettings, func(a, b setting) int { return distance(name, a.env()) - distance(name, b.env()) })
	return best.env()
}

// distance is the number of insertions, deletions and replacements between two
// words (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// warnLater logs, once, the keys that are set but have no effect yet.
func (s *settings) warnLater(log *slog.Logger) {
	defaults, err := loadSettings("", []string{"ANALYTICS_KAFKA_BROKERS=localhost:9092"})
	if err != nil {
		panic("BUG: the defaults are not valid: " + err.Error())
	}
	var keys []string
	for _, one := range allSettings {
		if one.later && one.text(s) != one.text(defaults) {
			keys = append(keys, one.key)
		}
	}
	if len(keys) > 0 {
		log.Warn("these settings are accepted but have no effect in this version", "keys", strings.Join(keys, ", "))
	}
}

func (s *settings) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		panic("BUG: log.level was validated: " + err.Error())
	}
	opts := &slog.HandlerOptions{Level: level}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
