package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// message is a call, its answer or an event. Session names the page it is about.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    string `json:"data"`
	} `json:"error,omitempty"`
}

// conn speaks the DevTools protocol over two pipes: JSON objects, each ended by a NUL.
type conn struct {
	in  io.ReadCloser
	out io.WriteCloser

	writing sync.Mutex // one message at a time

	mu      sync.Mutex
	last    int
	waiting map[int]chan message
	sinks   map[string]func(message) // by session; called one after the other, must not block
	err     error                    // why no more comes
	over    chan struct{}
}

func newConn(in io.ReadCloser, out io.WriteCloser) *conn {
	c := &conn{in: in, out: out, waiting: map[int]chan message{}, sinks: map[string]func(message){}, over: make(chan struct{})}
	go c.read()
	return c
}

// maxMessage bounds a message: the largest is a screenshot or a page as PDF.
const maxMessage = 64 << 20

func (c *conn) read() {
	s := bufio.NewScanner(c.in)
	s.Buffer(nil, maxMessage)
	s.Split(splitNUL)
	err := io.EOF
	for s.Scan() {
		var m message
		if e := json.Unmarshal(s.Bytes(), &m); e != nil {
			err = fmt.Errorf("read from the browser: %w", e)
			break
		}
		c.deliver(m)
	}
	if s.Err() != nil {
		err = s.Err()
	}
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	close(c.over)
}

// splitNUL is a bufio.SplitFunc; what is not ended is no message.
func splitNUL(data []byte, _ bool) (advance int, token []byte, err error) {
	for i, b := range data {
		if b == 0 {
			return i + 1, data[:i], nil
		}
	}
	return 0, nil, nil
}

func (c *conn) deliver(m message) {
	c.mu.Lock()
	answer := c.waiting[m.ID]
	delete(c.waiting, m.ID)
	sink := c.sinks[m.Session]
	c.mu.Unlock()
	switch {
	case m.ID != 0 && answer != nil:
		answer <- m // has room for the one
	case m.ID == 0 && sink != nil:
		sink(m)
	}
}

// listen has events about a session go to f.
func (c *conn) listen(session string, f func(message)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sinks[session] = f
}

// call asks for a method and waits for the answer. params and result may be nil.
func (c *conn) call(ctx context.Context, session, method string, params, result any) error {
	answer := make(chan message, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.waiting[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
	}()
	if err := c.send(message{ID: id, Session: session, Method: method}, params); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return fmt.Errorf("%s: %s %s (%d)", method, m.Error.Message, m.Error.Data, m.Error.Code)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-c.over:
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("%s: the browser is gone: %w", method, c.err)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

func (c *conn) send(m message, params any) error {
	if params != nil {
		b, err := json.Marshal(params)
		if err != nil {
			return err
		}
		m.Params = b
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err = c.out.Write(append(b, 0))
	return err
}

// Close closes both pipes; calls under way are told.
func (c *conn) Close() error {
	return errors.Join(c.out.Close(), c.in.Close())
}
