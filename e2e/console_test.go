//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a headless Chromium with a page open, and what went wrong on it.
type browser struct {
	context.Context
	mu    sync.Mutex
	wrong []string
	asked []string // addresses
}

// newBrowser starts one that ends with the test.
func newBrowser(t *testing.T, width, height int64) *browser {
	t.Helper()
	need(t, "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(int(width), int(height)))
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	b := &browser{Context: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.wrong = append(b.wrong, e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError {
				for _, a := range e.Args {
					b.wrong = append(b.wrong, fmt.Sprintf("console: %s", a.Value))
				}
			}
		case *log.EventEntryAdded: // a violation of the Content-Security-Policy is one
			if e.Entry.Level == log.LevelError {
				b.wrong = append(b.wrong, e.Entry.Text)
			}
		case *network.EventRequestWillBeSent:
			b.asked = append(b.asked, e.Request.URL)
		}
	})
	if err := chromedp.Run(ctx, emulation.SetDeviceMetricsOverride(width, height, 1, width < 600), log.Enable(), network.Enable()); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return b
}

// run does things on the page within a minute.
func (b *browser) run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b, time.Minute)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		t.Fatalf("%v; on the page: %q", err, b.wrong)
	}
}

// shoot writes a picture of what is seen of the page into the folder that E2E_SCREENSHOTS
// names.
func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("E2E_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	b.run(t, chromedp.CaptureScreenshot(&png))
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// scheme sets what the reader prefers, light or dark.
func scheme(name string) chromedp.Action {
	return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}})
}

// painted is how many of the charts show lines: pixels that are not empty.
const painted = `[...document.querySelectorAll(".chart canvas")].filter((c) => {
	const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
	for (let i = 3; i < d.length; i += 4) if (d[i]) return true;
	return false;
}).length`

// TestConsole: live data appears on the page in a real browser, in light and dark and on a
// phone, with nothing from elsewhere and no complaint.
func TestConsole(t *testing.T) {
	p := demo(t, "console-demo", "--for", "8m")
	var url string
	eventually(t, 30*time.Second, "the demo says where its console is", func(context.Context) error {
		if found := regexp.MustCompile(`console\s+(http://\S+)`).FindStringSubmatch(p.Log()); found != nil {
			url = found[1]
			return nil
		}
		return errors.New("it does not yet")
	})
	wide := newBrowser(t, 1280, 1420)
	var status, tiles, later string
	began := time.Now()
	wide.run(t,
		scheme("light"), chromedp.Navigate(url),
		chromedp.Poll(`document.querySelector("#status").textContent.startsWith("complete up to")`, nil),
		chromedp.Poll(`document.querySelectorAll("#stages tbody tr").length >= 5 && document.querySelectorAll("#errors tbody tr").length >= 3`, nil),
		chromedp.Poll(painted+` === 4`, nil),
		chromedp.Poll(`document.querySelectorAll("#behaviour tbody tr").length >= 5 && document.querySelectorAll("#usage tbody tr").length >= 5`, nil),
		chromedp.Text("#status", &status), chromedp.Text("#tiles", &tiles),
	)
	t.Logf("all of it was there %s after the page was asked for: %s; %q", time.Since(began).Round(100*time.Millisecond), status, strings.Join(strings.Fields(tiles), " "))
	if !strings.Contains(tiles, "all accounted for") && !strings.Contains(tiles, "in flight") {
		t.Errorf("tiles %q tell nothing of records", tiles)
	}
	// It is live: nobody does anything, and the numbers change.
	wide.run(t, chromedp.Poll(`document.querySelector("#tiles").textContent !== `+fmt.Sprintf("%q", strings.Join(strings.Split(tiles, "\n"), "")), nil), chromedp.Text("#tiles", &later))
	if later == tiles {
		t.Errorf("the tiles stay at %q", tiles)
	}
	// What is chosen is shown.
	for _, tenant := range []string{"tenant-02", ""} {
		wide.run(t,
			chromedp.Evaluate(fmt.Sprintf(`document.querySelector("#tenant").value = %q; document.querySelector("#tenant").dispatchEvent(new Event("input"))`, tenant), nil),
			chromedp.Poll(fmt.Sprintf(`((seen) => %q ? seen.size === 1 && seen.has(%q) : seen.size > 1)(new Set([...document.querySelectorAll("#errors tbody tr")].map((r) => r.cells[1].textContent)))`, tenant, tenant), nil))
	}
	if os.Getenv("E2E_SCREENSHOTS") != "" {
		time.Sleep(4 * time.Minute) // for longer lines
	}
	wide.shoot(t, "console-light")
	var light, dark string
	wide.run(t, chromedp.Evaluate(`getComputedStyle(document.body).color`, &light), scheme("dark"),
		chromedp.Evaluate(`getComputedStyle(document.body).color`, &dark), chromedp.Poll(painted+` === 4`, nil))
	if light == dark {
		t.Errorf("text is %s in light and dark", light)
	}
	wide.shoot(t, "console-dark")
	// A sample leads to its trace.
	var steps, bars int
	var trace string
	wide.run(t, scheme("light"), chromedp.Evaluate(`document.querySelector("#errors tbody a").href`, &trace))
	wide.run(t, chromedp.Navigate(trace), chromedp.Poll(`document.querySelectorAll("#steps li.error").length >= 1`, nil),
		chromedp.Evaluate(`document.querySelectorAll("#steps li").length`, &steps),
		chromedp.Evaluate(`[...document.querySelectorAll("#steps .bar")].filter((b) => b.clientWidth >= 3).length`, &bars), chromedp.Text("#tiles", &tiles))
	if steps < 2 || bars != steps || !strings.Contains(tiles, "error") {
		t.Errorf("the page of a trace has %d steps, %d of them drawn, and says %q", steps, bars, tiles)
	}
	wide.shoot(t, "trace")
	// An address that is no text is said to be none.
	wide.run(t, chromedp.Navigate(strings.TrimSuffix(url, "/")+"/traces/%FF"), chromedp.Poll(`document.querySelector("#status").textContent.includes("no trace id")`, nil))
	wide.fine(t, url)

	phone := newBrowser(t, 390, 844)
	var width int
	phone.run(t, scheme("light"), chromedp.Navigate(url), chromedp.Poll(painted+` === 4`, nil),
		chromedp.Evaluate(`document.documentElement.scrollWidth`, &width))
	if width > 390 {
		t.Errorf("the page is %d pixels wide on a phone of 390", width)
	}
	phone.shoot(t, "console-phone")
	phone.fine(t, url)
}

// fine checks that nothing went wrong on the page, and that it asked nobody else.
func (b *browser) fine(t *testing.T, url string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.wrong {
		t.Errorf("on the page: %s", text)
	}
	for _, address := range b.asked {
		if !strings.HasPrefix(address, url) {
			t.Errorf("the page asks for %s", address)
		}
	}
	if len(b.asked) < 5 {
		t.Errorf("the page asked only for %q", b.asked)
	}
}
