package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Look is how a page is looked at.
type Look struct {
	Width, Height int // CSS pixels
	Mobile        bool
	Dark          bool
	Contrast      bool // prefers-contrast: more
	Bare          bool // without scroll bars, for pictures
	// Scripts lets the page's own scripts run. Those of the harness run anyway.
	Scripts bool
}

// arguments of a method.
type arguments = map[string]any

// Page is a tab with a profile of its own.
type Page struct {
	conn    *conn
	session string
	target  string
	profile string

	mu     sync.Mutex
	news   chan struct{} // closed and made anew whenever something happened
	frame  string
	world  int             // where the harness's scripts run, apart from the page's; 0 where there is none yet
	events map[string]bool // loader + name of what happened to it
	loader string          // of the document that is shown
	log    Log
}

// Log is what happened on a page since it was opened.
type Log struct {
	Requests []string // addresses that were asked for, data: left out
	Trouble  []string // errors, violations, failed requests, status codes from 400 on, dialogs
}

// NewPage opens an empty tab. It ends with the browser, or when it is closed.
func (b *Browser) NewPage(ctx context.Context, look Look) (*Page, error) {
	p := &Page{conn: b.conn, news: make(chan struct{}), events: map[string]bool{}}
	var profile struct{ BrowserContextID string }
	if err := b.conn.call(ctx, "", "Target.createBrowserContext", nil, &profile); err != nil {
		return nil, err
	}
	p.profile = profile.BrowserContextID
	var target struct{ TargetID string }
	if err := b.conn.call(ctx, "", "Target.createTarget", arguments{"url": "about:blank", "browserContextId": p.profile}, &target); err != nil {
		return nil, err
	}
	p.target, p.frame = target.TargetID, target.TargetID // the main frame goes by the same name
	var attached struct{ SessionID string }
	if err := b.conn.call(ctx, "", "Target.attachToTarget", arguments{"targetId": p.target, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	p.session = attached.SessionID
	b.conn.listen(p.session, p.event)
	for _, method := range []string{"Page.enable", "Network.enable", "Runtime.enable", "Log.enable", "Audits.enable", "DOM.enable", "CSS.enable"} {
		if err := p.call(ctx, method, nil, nil); err != nil {
			return nil, err
		}
	}
	if err := p.call(ctx, "Page.setLifecycleEventsEnabled", arguments{"enabled": true}, nil); err != nil {
		return nil, err
	}
	return p, p.Set(ctx, look)
}

func (p *Page) call(ctx context.Context, method string, params, result any) error {
	return p.conn.call(ctx, p.session, method, params, result)
}

// Set changes how the page is looked at.
func (p *Page) Set(ctx context.Context, l Look) error {
	feature := func(name, value string) arguments { return arguments{"name": name, "value": value} }
	scheme, contrast := "light", "no-preference"
	if l.Dark {
		scheme = "dark"
	}
	if l.Contrast {
		contrast = "more"
	}
	if err := p.call(ctx, "Emulation.setDeviceMetricsOverride", arguments{"width": l.Width, "height": l.Height, "deviceScaleFactor": 1, "mobile": l.Mobile}, nil); err != nil {
		return err
	}
	if err := p.call(ctx, "Emulation.setScrollbarsHidden", arguments{"hidden": l.Bare}, nil); err != nil {
		return err
	}
	if err := p.call(ctx, "Emulation.setScriptExecutionDisabled", arguments{"value": !l.Scripts}, nil); err != nil {
		return err
	}
	return p.call(ctx, "Emulation.setEmulatedMedia", arguments{"features": []arguments{
		feature("prefers-color-scheme", scheme), feature("prefers-contrast", contrast), feature("prefers-reduced-motion", "reduce")}}, nil)
}

// Close closes the tab and forgets its profile.
func (p *Page) Close(ctx context.Context) error {
	return p.conn.call(ctx, "", "Target.disposeBrowserContext", arguments{"browserContextId": p.profile}, nil)
}

// Open goes to an address and waits until the page is loaded. What happened before is forgotten.
func (p *Page) Open(ctx context.Context, address string) error {
	p.mu.Lock()
	p.log, p.events = Log{}, map[string]bool{}
	p.mu.Unlock()
	var answer struct{ FrameID, LoaderID, ErrorText string }
	if err := p.call(ctx, "Page.navigate", arguments{"url": address}, &answer); err != nil {
		return err
	}
	if answer.ErrorText != "" {
		return fmt.Errorf("open %s: %s", address, answer.ErrorText)
	}
	if answer.LoaderID == "" {
		return nil // a place on the same page
	}
	p.mu.Lock()
	p.loader, p.world = answer.LoaderID, 0
	p.mu.Unlock()
	return p.wait(ctx, "load "+address, func() bool { return p.events[answer.LoaderID+" load"] })
}

// Follow does something that leads to another document and waits until that is loaded.
func (p *Page) Follow(ctx context.Context, do func() error) error {
	p.mu.Lock()
	before := p.loader
	p.log, p.events = Log{}, map[string]bool{}
	p.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	return p.wait(ctx, "follow a link", func() bool {
		for name := range p.events {
			loader, what, _ := strings.Cut(name, " ")
			if what == "load" && loader != before {
				p.loader, p.world = loader, 0
				return true
			}
		}
		return false
	})
}

// Settle waits until the page has asked for nothing for half a second.
func (p *Page) Settle(ctx context.Context) error {
	return p.wait(ctx, "settle", func() bool { return p.events[p.loader+" networkIdle"] })
}

// wait waits until ready, which is asked with the lock held, whenever something happened.
func (p *Page) wait(ctx context.Context, what string, ready func() bool) error {
	for {
		p.mu.Lock()
		news, done := p.news, ready()
		p.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-news:
		case <-p.conn.over:
			return fmt.Errorf("%s: the browser is gone", what)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
}

// Log is what happened since the page was opened. An answer to any call shows that all
// events before it have come, so one is made.
func (p *Page) Log(ctx context.Context) (Log, error) {
	if err := p.call(ctx, "Page.getNavigationHistory", nil, nil); err != nil {
		return Log{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return Log{slices.Clone(p.log.Requests), slices.Clone(p.log.Trouble)}, nil
}

// Foreign lists the requests that did not go to the origin of address.
func (l Log) Foreign(address string) []string {
	own, err := url.Parse(address)
	var out []string
	for _, r := range l.Requests {
		u, e := url.Parse(r)
		if err != nil || e != nil || u.Scheme != own.Scheme || u.Host != own.Host {
			out = append(out, r)
		}
	}
	return out
}

// event takes in what the browser tells; see the DevTools protocol's domains of the same names.
func (p *Page) event(m message) {
	var e struct {
		Name, LoaderID, FrameID, Type, Message, ErrorText string
		Request                                           struct{ URL string }
		Response                                          struct {
			URL    string
			Status int
		}
		Entry            struct{ Level, Source, Text, URL string }
		Args             []struct{ Value, Description json.RawMessage }
		ExceptionDetails struct{ Text string }
		Issue            struct {
			Code    string
			Details json.RawMessage
		}
	}
	if err := json.Unmarshal(m.Params, &e); err != nil {
		e.Message = err.Error()
		m.Method = "unreadable event " + m.Method
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	trouble := func(format string, args ...any) { p.log.Trouble = append(p.log.Trouble, fmt.Sprintf(format, args...)) }
	switch m.Method {
	case "Page.lifecycleEvent":
		if e.FrameID == p.frame {
			p.events[e.LoaderID+" "+e.Name] = true
		}
	case "Network.requestWillBeSent":
		if !strings.HasPrefix(e.Request.URL, "data:") {
			p.log.Requests = append(p.log.Requests, e.Request.URL)
		}
	case "Network.responseReceived":
		if e.Response.Status >= 400 {
			trouble("status %d of %s", e.Response.Status, e.Response.URL)
		}
	case "Network.loadingFailed":
		trouble("a request failed: %s %s", e.Type, e.ErrorText)
	case "Runtime.consoleAPICalled":
		trouble("console.%s: %s", e.Type, e.Args)
	case "Runtime.exceptionThrown":
		trouble("exception: %s", e.ExceptionDetails.Text)
	case "Log.entryAdded":
		trouble("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
	case "Audits.issueAdded":
		trouble("%s: %s", e.Issue.Code, e.Issue.Details)
	case "Page.javascriptDialogOpening":
		trouble("a dialog: %s", e.Message)
	default:
		if strings.HasPrefix(m.Method, "unreadable") {
			trouble("%s: %s", m.Method, e.Message)
		}
	}
	close(p.news)
	p.news = make(chan struct{})
}
