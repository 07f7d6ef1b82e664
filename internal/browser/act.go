package browser

import (
	"context"
	"encoding/json"
	"fmt"
)

// Eval gives the value of a JavaScript expression, a promise's once it is kept, into out,
// which may be nil. It runs beside the page, not in it: it sees the same document and none
// of the page's own variables, and the page's policy for scripts neither binds nor is
// changed by it.
func (p *Page) Eval(ctx context.Context, expression string, out any) error {
	p.mu.Lock()
	world := p.world
	p.mu.Unlock()
	if world == 0 {
		var made struct{ ExecutionContextID int }
		if err := p.call(ctx, "Page.createIsolatedWorld", arguments{"frameId": p.frame, "worldName": "lastgood"}, &made); err != nil {
			return err
		}
		p.mu.Lock()
		p.world, world = made.ExecutionContextID, made.ExecutionContextID
		p.mu.Unlock()
	}
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := p.call(ctx, "Runtime.evaluate", arguments{"expression": expression, "contextId": world, "awaitPromise": true, "returnByValue": true}, &answer)
	if err != nil {
		return err
	}
	if e := answer.ExceptionDetails; e != nil {
		return fmt.Errorf("evaluate: %s %s", e.Text, e.Exception.Description)
	}
	if out == nil {
		return nil
	}
	if answer.Result.Value == nil {
		return fmt.Errorf("evaluate %.60s: no value", expression)
	}
	return json.Unmarshal(answer.Result.Value, out)
}

// Style adds a style sheet of the viewer's, as one who enlarges the text has it.
func (p *Page) Style(ctx context.Context, text string) error {
	var made struct{ StyleSheetID string }
	if err := p.call(ctx, "CSS.createStyleSheet", arguments{"frameId": p.frame}, &made); err != nil {
		return err
	}
	return p.call(ctx, "CSS.setStyleSheetText", arguments{"styleSheetId": made.StyleSheetID, "text": text}, nil)
}

// key is what a key sends: its name, its code and the text it types.
type key struct {
	code int
	text string
}

// keys that can be pressed, by the names of the UI Events specification.
var keys = map[string]key{"Tab": {9, ""}, "Enter": {13, "\r"}, "Space": {32, " "}, "ArrowDown": {40, ""}, "Escape": {27, ""}}

// Press presses a key and lets it go.
func (p *Page) Press(ctx context.Context, name string) error {
	k, known := keys[name]
	if !known {
		return fmt.Errorf("press %s: no such key", name)
	}
	down := arguments{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": k.code}
	if name == "Space" {
		down["key"] = " "
	}
	if k.text != "" {
		down["text"] = k.text
	}
	if err := p.call(ctx, "Input.dispatchKeyEvent", down, nil); err != nil {
		return err
	}
	return p.call(ctx, "Input.dispatchKeyEvent", arguments{"type": "keyUp", "key": down["key"], "code": name, "windowsVirtualKeyCode": k.code}, nil)
}

// Click clicks into the middle of the first element that a CSS selector names.
func (p *Page) Click(ctx context.Context, selector string) error {
	quoted, err := json.Marshal(selector)
	if err != nil {
		return err
	}
	var at struct{ X, Y float64 }
	if err := p.Eval(ctx, `(() => { const e = document.querySelector(`+string(quoted)+`); if (!e) throw new Error("no such element: " + `+string(quoted)+`);
		e.scrollIntoView({block: "center"}); const r = e.getClientRects()[0]; return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()`, &at); err != nil {
		return err
	}
	for _, what := range []string{"mousePressed", "mouseReleased"} {
		if err := p.call(ctx, "Input.dispatchMouseEvent", arguments{"type": what, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil); err != nil {
			return err
		}
	}
	return nil
}

// PDF is the page as it would be printed.
func (p *Page) PDF(ctx context.Context) ([]byte, error) {
	var answer struct{ Data []byte }
	err := p.call(ctx, "Page.printToPDF", arguments{"paperWidth": 8.27, "paperHeight": 11.69}, &answer) // A4, in inches
	return answer.Data, err
}
