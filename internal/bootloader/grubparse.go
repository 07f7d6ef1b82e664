package bootloader

import (
	"errors"
	"slices"
)

// node is one command of GRUB's script.
type node struct {
	// name is "if", "loop", "function", "menuentry", "submenu", or "" for a plain command.
	name  string
	words []word // of a plain command, a menuentry or a submenu, its own name first; a function's name
	// arms are an if's conditions and bodies; the last has no condition where there is an else.
	arms []arm
	body []node
}

type arm struct{ cond, body []node }

// maxNest bounds the depth of blocks; grub-mkconfig makes four.
const maxNest = 64

var errNest = errors.New("blocks nested too deep")

// grubParser reads GRUB's script (docs/grub.texi, "Shell-like scripting").
type grubParser struct {
	lex   lexer
	depth int
}

// parseGrubScript parses a grub.cfg. GRUB itself goes on after a fault in a line; what is
// not understood here is kept as a plain command.
func parseGrubScript(text string) ([]node, error) {
	p := &grubParser{lex: lexer{s: text}}
	var all []node
	for {
		nodes, end, err := p.list()
		all = append(all, nodes...)
		if err != nil || end == "" {
			return all, err
		}
	}
}

// blockEnds are the words that end a list of commands where a command could begin.
var blockEnds = []string{"then", "elif", "else", "fi", "do", "done", "}"}

// list parses commands up to a word that ends a block, which it gives back.
func (p *grubParser) list() (nodes []node, end string, err error) {
	if p.depth++; p.depth > maxNest {
		return nil, "", errNest
	}
	defer func() { p.depth-- }()
	for {
		w, more := p.lex.next()
		if !more {
			return nodes, "", nil
		}
		if w == nil {
			continue
		}
		head := w.literal()
		if slices.Contains(blockEnds, head) {
			return nodes, head, nil
		}
		n, err := p.command(head, w)
		if err != nil {
			return nodes, "", err
		}
		nodes = append(nodes, n)
	}
}

func (p *grubParser) command(head string, w word) (node, error) {
	switch head {
	case "if":
		return p.branches()
	case "while", "until", "for":
		if _, _, err := p.list(); err != nil { // up to "do"
			return node{}, err
		}
		body, _, err := p.list()
		return node{name: "loop", body: body}, err
	case "menuentry", "submenu", "function":
		words, open := p.words(true)
		n := node{name: head, words: words}
		if !open {
			return n, nil
		}
		var err error
		n.body, _, err = p.list()
		return n, err
	}
	words, _ := p.words(false)
	return node{words: append([]word{w}, words...)}, nil
}

// words are the rest of a command; open reports that a brace ended it.
func (p *grubParser) words(brace bool) (words []word, open bool) {
	for {
		w, more := p.lex.next()
		if !more || w == nil {
			return words, false
		}
		if brace && w.literal() == "{" {
			return words, true
		}
		words = append(words, w)
	}
}

// branches parses an if, of which the first word has been read.
func (p *grubParser) branches() (node, error) {
	n := node{name: "if"}
	for {
		cond, end, err := p.list()
		if err != nil || end != "then" {
			return n, err
		}
		body, end, err := p.list()
		n.arms = append(n.arms, arm{cond, body})
		if err != nil || end != "elif" && end != "else" {
			return n, err
		}
		if end == "else" {
			body, _, err := p.list()
			n.arms = append(n.arms, arm{nil, body})
			return n, err
		}
	}
}
