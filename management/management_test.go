package management

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const overview = `{"object_totals":{"channels":4,"connections":2,"consumers":1,"exchanges":7,"queues":3}}`

// api answers as RabbitMQ does: the overview, and pages of queues.
func api(t *testing.T, queues func(w http.ResponseWriter, page int)) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/overview", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, overview) })
	mux.HandleFunc("GET /api/queues", func(w http.ResponseWriter, r *http.Request) {
		page, err := strconv.Atoi(r.FormValue("page"))
		if err != nil || r.FormValue("page_size") != "500" {
			t.Errorf("asked for %s", r.URL)
		}
		queues(w, page)
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "watch" || password != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"not_authorized","reason":"Login failed"}`)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// answers is an API that knows one page.
func answers(t *testing.T, body string) *httptest.Server {
	t.Helper()
	return api(t, func(w http.ResponseWriter, page int) { fmt.Fprint(w, body) })
}

func read(t *testing.T, c Config) (State, error) {
	t.Helper()
	if c.Username == "" {
		c.Username, c.Password = "watch", "s3cret"
	}
	client, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client.Read(t.Context())
}

func TestRead(t *testing.T) {
	mail := Queue{"/", "mail", 7, 3, 1}
	dead := Queue{"acme", "mail.dead", 0, 0, 0}
	pages := Queue{"/", "pages", 10, 2, 2}
	unrouted := Queue{"/", "error_event.unrouted", 1, 0, 0}
	for _, tt := range []struct {
		name, file, queues string
		want               []Queue
	}{
		{"3, with a queue of which there are no numbers yet", "rabbitmq-3.json", "", []Queue{mail, dead}},
		{"4, which may tell more than it was asked for", "rabbitmq-4.json", "", []Queue{pages, unrouted}},
		{"one by name", "rabbitmq-3.json", "mail", []Queue{mail}},
		{"some by name", "rabbitmq-3.json", "nothing|mail.*", []Queue{mail, dead}},
		{"alternatives are whole names", "rabbitmq-3.json", "mail|nothing", []Queue{mail}},
		{"none", "rabbitmq-4.json", "page", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body, err := os.ReadFile(filepath.Join("testdata", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			got, err := read(t, Config{URL: answers(t, string(body)).URL, Queues: tt.queues})
			if diff := cmp.Diff(State{2, tt.want}, got); err != nil || diff != "" {
				t.Errorf("error %v, difference (-want +got):\n%s", err, diff)
			}
		})
	}
}

// A queue that comes on two pages is one.
func TestReadAllPages(t *testing.T) {
	s := api(t, func(w http.ResponseWriter, page int) {
		const queue = `{"vhost":"/","name":"q%d","messages_ready":%d,"messages_unacknowledged":0,"consumers":0}`
		fmt.Fprintf(w, `{"page_count":3,"total_count":1001,"items":[`+queue+","+queue+`]}`, page, page, page+1, page+1)
	})
	got, err := read(t, Config{URL: s.URL + "/"})
	want := []Queue{{"/", "q1", 1, 0, 0}, {"/", "q2", 2, 0, 0}, {"/", "q3", 3, 0, 0}, {"/", "q4", 4, 0, 0}}
	if diff := cmp.Diff(want, got.Queues); err != nil || diff != "" {
		t.Errorf("error %v, difference (-want +got):\n%s", err, diff)
	}
}

// As many pages are read as may be, and queues of one name in two virtual hosts are two.
func TestReadTheMostPages(t *testing.T) {
	pages := 0
	s := api(t, func(w http.ResponseWriter, page int) {
		pages++
		const queue = `{"vhost":"h%d","name":"q","messages_ready":0,"messages_unacknowledged":0,"consumers":0}`
		fmt.Fprintf(w, `{"page_count":20,"total_count":20,"items":[`+queue+`]}`, page)
	})
	if got, err := read(t, Config{URL: s.URL}); err != nil || pages != 20 || len(got.Queues) != 20 {
		t.Errorf("%d queues on %d pages, %v, want 20", len(got.Queues), pages, err)
	}
}

// The login may stand in the address. It is in no error, wherever it came from.
func TestLoginInTheAddress(t *testing.T) {
	s := answers(t, `{"page_count":0,"items":[]}`)
	with := func(login string) Config { return Config{URL: strings.Replace(s.URL, "://", "://"+login+"@", 1)} }
	client, err := New(with("watch:s3cret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Read(t.Context()); err != nil || len(got.Queues) != 0 {
		t.Errorf("%+v, %v, want no queues", got, err)
	}
	other := with("stranger:wrong")
	if got := other.User(); got != "stranger" {
		t.Errorf("%q asks, want who is in the address", got)
	}
	other.Username, other.Password = "watch", "s3cret"
	if _, err := read(t, other); err != nil || other.User() != "watch" {
		t.Errorf("%q asks, %v, want who is named beside the address", other.User(), err)
	}
	s.Close()
	for _, c := range []Config{with("watch:s3cret"), {URL: s.URL, Username: "watch", Password: "s3cret"}} {
		client, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = client.Read(t.Context()); err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "watch") {
			t.Errorf("error is %v, want one without the login", err)
		}
	}
}

func TestBrokenAnswers(t *testing.T) {
	const queue = `{"vhost":"/","name":"q","messages_ready":1,"messages_unacknowledged":0,"consumers":0}`
	for _, tt := range []struct {
		name, body, want string
	}{
		{"a page of a proxy", "<html>Welcome</html>", "is the address that of its management API?"},
		{"half an answer", `{"page_count":1,"items":[` + queue, "not what RabbitMQ says"},
		{"a text for a number", `{"page_count":1,"items":[{"name":"q","messages_ready":"many"}]}`, "not what RabbitMQ says"},
		{"another list", `[` + queue + `]`, "not what RabbitMQ says"},
		{"something else", `{"ok":true}`, "no list of queues"},
		{"nothing", "", "not what RabbitMQ says"},
		{"too many queues", `{"page_count":21,"total_count":10400,"items":[]}`, "10400 queues, more than the 10000"},
		{"too large", `{"items":[` + strings.Repeat(" ", maxAnswer) + `]}`, "more than 4194304 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(t, Config{URL: answers(t, tt.body).URL})
			if err == nil || !strings.Contains(err.Error(), tt.want) || got.Queues != nil {
				t.Errorf("%+v, %v, want nothing but an error that says %q", got, err, tt.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	answer := func(status int, body string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}))
		t.Cleanup(s.Close)
		return s
	}
	for _, tt := range []struct {
		name string
		at   *httptest.Server
		user string
		want string
	}{
		{"a wrong login", answers(t, ""), "stranger", "401 Unauthorized (not_authorized Login failed): give a user with the tag monitoring"},
		{"elsewhere", answer(http.StatusFound, ""), "watch", "302 Found: it is not followed"},
		{"nothing there", answer(http.StatusNotFound, "no"), "watch", "404 Not Found: is the address"},
		{"starting", answer(http.StatusServiceUnavailable, `{"error":"not_ready"}`), "watch", "503 Service Unavailable (not_ready)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(t, Config{URL: tt.at.URL, Username: tt.user, Password: "wrong"})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want one that says %q", err, tt.want)
			}
		})
	}
}

// An API that takes a question and never answers is given up.
func TestSilence(t *testing.T) {
	asked, end := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-end
	}))
	defer s.Close()
	defer close(end)
	client, err := New(Config{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if client.http.Timeout != timeout {
		t.Errorf("a request may take %s, want %s", client.http.Timeout, timeout)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := client.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that of the context", err)
	}
}

// Statistics may be off: then nothing is told of connections.
func TestNoTotals(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"page_count":0,"items":[]}`)
	}))
	defer s.Close()
	if got, err := read(t, Config{URL: s.URL}); err != nil || got.Connections != -1 {
		t.Errorf("%+v, %v, want no number of connections", got, err)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"page_count":0,"items":[]}`)
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, Config{URL: s.URL}); err == nil {
		t.Error("an unknown authority is trusted")
	}
	if _, err := read(t, Config{URL: s.URL, CAFile: file}); err != nil {
		t.Error(err)
	}
}

func TestWrongConfiguration(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{URL: "rabbit:s3cret:15672"}, "url: want http://"},
		{Config{URL: "amqp://watch:s3cret@rabbit"}, "url: want http://"},
		{Config{URL: "http://watch:s3cret@[rabbit"}, "url: want http://"},
		{Config{URL: "http://rabbit", Queues: "*"}, `queues is "*"`},
		{Config{URL: "https://rabbit", CAFile: "testdata/rabbitmq-3.json"}, "holds no PEM certificate"},
		{Config{URL: "https://rabbit", CAFile: "testdata/none"}, "ca_file: "},
	} {
		if _, err := New(tt.c); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: error is %v, want one that says %q", tt.c, err, tt.want)
		}
	}
}
