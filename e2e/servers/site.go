// Package servers starts the real servers of the scripts beside it, and programs
// that use them, for the end-to-end tests and the benchmark.
//
//	site, err := servers.Open("ragstreams-e2e")
//	defer site.Close()
//	kafka, err := site.Kafka(ctx, "kafka")
//	a := site.Program("a", binary, append(os.Environ(), "ANALYTICS_KAFKA_BROKERS="+kafka.Address), "run")
//	err = a.Start()
//
// Everything lives in the folder of a Site and ends with it: when the Site is
// closed, and also when the process that opened it is gone, however that came
// about. Linux only, like the scripts.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// Site is a folder with servers and programs.
type Site struct {
	Dir  string
	Root string // of the repository

	guard *exec.Cmd
	alive io.Closer // the guard acts when it is closed
}

// Open makes a folder of the system's for temporary files whose name begins
// with prefix. The working directory must be within the repository.
func Open(prefix string) (*Site, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", prefix+"-")
	if err != nil {
		return nil, fmt.Errorf("open site: %w", err)
	}
	s := &Site{Dir: dir, Root: root}
	log, err := os.Create(filepath.Join(dir, "guard.log"))
	if err != nil {
		return nil, fmt.Errorf("open site: %w", err)
	}
	defer log.Close()
	s.guard = exec.Command(s.script("guard.sh"), dir)
	s.guard.Stdout, s.guard.Stderr = log, log
	s.guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	if s.alive, err = s.guard.StdinPipe(); err != nil {
		return nil, fmt.Errorf("open site: %w", err)
	}
	if err := s.guard.Start(); err != nil {
		return nil, fmt.Errorf("open site: %w", err)
	}
	return s, nil
}

// findRoot returns the folder with go.mod at or above the working directory.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("find the repository: no go.mod at or above the working directory")
		}
		dir = up
	}
}

// Close ends everything and returns when it has ended. Logs stay in Dir.
func (s *Site) Close() error {
	s.alive.Close()
	if err := s.guard.Wait(); err != nil {
		return fmt.Errorf("close site, see %s: %w", filepath.Join(s.Dir, "guard.log"), err)
	}
	return nil
}

// Build compiles a command of the repository, such as ./cmd/analytics, and
// returns the path of the binary.
func (s *Site) Build(ctx context.Context, pkg string, flags ...string) (string, error) {
	out := filepath.Join(s.Dir, "bin", filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", out}, flags...), pkg)...)
	cmd.Dir = s.Root
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return out, nil
}

func (s *Site) script(name string) string { return filepath.Join(s.Root, "e2e", "servers", name) }

// run runs a script and returns the last line that it prints.
func (s *Site) run(ctx context.Context, env []string, script string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.script(script), args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", script, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	return lines[len(lines)-1], nil
}

// Kafka is a broker, or three, that can be stopped and started again.
type Kafka struct {
	Address string // without encryption: host:port, with commas between those of three
	Port    int    // of the first; encrypted listeners are at Port+20 (SASL) and Port+30 (mutual TLS)
	Brokers int
	Dir     string

	site *Site
	env  []string
}

// Kafka starts a broker. env is added to the script's environment.
func (s *Site) Kafka(ctx context.Context, name string, env ...string) (*Kafka, error) {
	return s.cluster(ctx, name, 1, []int{10, 20, 30, 40, 70}, env)
}

// Cluster starts three brokers, with a listener for Proxies 1 to 3 each.
func (s *Site) Cluster(ctx context.Context, name string, env ...string) (*Kafka, error) {
	var ports []int
	for _, tens := range []int{0, 10, 40, 50, 60, 70, 80, 90} {
		ports = append(ports, tens, tens+1, tens+2)
	}
	return s.cluster(ctx, name, 3, ports, append(env, "KAFKA_PROXIED=3"))
}

func (s *Site) cluster(ctx context.Context, name string, brokers int, ports []int, env []string) (*Kafka, error) {
	port, err := FreePort(ports...)
	if err != nil {
		return nil, err
	}
	k := &Kafka{Port: port, Brokers: brokers, Dir: filepath.Join(s.Dir, name), site: s, env: env}
	k.Address, err = k.start(ctx)
	return k, err
}

// Addresses are those of Address.
func (k *Kafka) Addresses() []string { return strings.Split(k.Address, ",") }

// Start starts every broker that is not running, with the data it had.
func (k *Kafka) Start(ctx context.Context) error {
	_, err := k.start(ctx)
	return err
}

func (k *Kafka) start(ctx context.Context) (addresses string, err error) {
	return k.site.run(ctx, k.env, "kafka.sh", "start", k.Dir, strconv.Itoa(k.Port), strconv.Itoa(k.Brokers))
}

// Stop ends all brokers in peace and keeps their data.
func (k *Kafka) Stop(ctx context.Context) error {
	_, err := k.site.run(ctx, k.env, "kafka.sh", "stop", k.Dir)
	return err
}

// Kill ends broker n, from 0, as a power cut would.
func (k *Kafka) Kill(n int) error {
	pid, err := k.PID(n)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill broker %d, process %d: %w", n, pid, err)
	}
	return nil
}

// Running reports whether the process of broker n is there.
func (k *Kafka) Running(n int) (bool, error) {
	pid, err := k.PID(n)
	if err != nil {
		return false, err
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // empty when only its exit status is left
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("look for broker %d: %w", pid, err)
	}
	return len(command) > 0, nil
}

// PID returns the process id of broker n.
func (k *Kafka) PID(n int) (int, error) {
	return readPID(filepath.Join(k.Dir, strconv.Itoa(n), "pid"))
}

func readPID(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read process id: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read process id from %s: %w", path, err)
	}
	return pid, nil
}

var kafkaVersion = regexp.MustCompile(`(?m)^version=(\S+)$`)

// KafkaVersion returns the version of the broker that Kafka starts.
func (s *Site) KafkaVersion() (string, error) {
	text, err := os.ReadFile(s.script("kafka.sh"))
	if err != nil {
		return "", fmt.Errorf("version of Kafka: %w", err)
	}
	found := kafkaVersion.FindSubmatch(text)
	if found == nil {
		return "", errors.New("version of Kafka: kafka.sh does not say")
	}
	return string(found[1]), nil
}

// Prometheus starts a Prometheus that scrapes the targets (host:port) every
// second, and returns its address. job is added to the scrape configuration.
func (s *Site) Prometheus(ctx context.Context, name, job string, targets ...string) (url string, err error) {
	port, err := FreePort()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("start Prometheus: %w", err)
	}
	file := filepath.Join(dir, "job.yml")
	if err := os.WriteFile(file, []byte(job), 0o644); err != nil {
		return "", fmt.Errorf("start Prometheus: %w", err)
	}
	return s.run(ctx, []string{"PROMETHEUS_JOB=" + file}, "prometheus.sh", append([]string{"start", dir, strconv.Itoa(port)}, targets...)...)
}

// FreePort returns a port of 127.0.0.1 that nobody listens on; nor on those that
// lie so much above it. It is none that the system gives to outgoing connections.
func FreePort(above ...int) (int, error) {
	for range 200 {
		port := 20_000 + rand.IntN(12_000)
		if free(port, above) {
			return port, nil
		}
	}
	return 0, errors.New("no free port between 20000 and 32000")
}

func free(port int, above []int) bool {
	for _, offset := range append([]int{0}, above...) {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+offset))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
