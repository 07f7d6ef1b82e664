package bootloader

import "strings"

// part is a piece of a word of GRUB's script: literal text, or a variable's name.
type part struct {
	text   string
	isVar  bool
	quoted bool
}

// word is what stands between blanks. The empty word that a quote makes has one part.
type word []part

// literal is the word's text, where it is one and nothing in it is quoted.
func (w word) literal() string {
	if len(w) == 1 && !w[0].isVar && !w[0].quoted {
		return w[0].text
	}
	return ""
}

// lexer cuts GRUB's script into words and ends of commands (a nil word).
type lexer struct {
	s  string
	at int
}

// next is the next word; nil ends a command; more is false at the end of the text.
func (l *lexer) next() (w word, more bool) {
	for l.at < len(l.s) {
		switch c := l.s[l.at]; {
		case c == ' ' || c == '\t' || c == '\r':
			l.at++
		case c == '\\' && strings.HasPrefix(l.s[l.at:], "\\\n"):
			l.at += 2
		case c == '#':
			for l.at < len(l.s) && l.s[l.at] != '\n' {
				l.at++
			}
		case isEnd(c):
			l.at++
			return nil, true
		default:
			return l.word(), true
		}
	}
	return nil, false
}

func isEnd(c byte) bool { return c == '\n' || c == ';' || c == '&' || c == '|' }

func (l *lexer) word() word {
	var w word
	for l.at < len(l.s) {
		switch c := l.s[l.at]; {
		case c == ' ' || c == '\t' || c == '\r' || isEnd(c):
			return w
		case c == '\'':
			end := strings.IndexByte(l.s[l.at+1:], '\'')
			if end < 0 {
				end = len(l.s) - l.at - 1
			}
			w = append(w, part{text: l.s[l.at+1 : l.at+1+end], quoted: true})
			l.at = min(l.at+end+2, len(l.s))
		case c == '"':
			l.at++
			w = append(w, l.quoted()...)
		case c == '$':
			w = append(w, l.variable(false))
		default:
			w = append(w, part{text: l.text(func(c byte) bool {
				return c == ' ' || c == '\t' || c == '\r' || c == '\'' || c == '"' || c == '$' || isEnd(c)
			})})
		}
	}
	return w
}

// quoted reads up to the closing double quote.
func (l *lexer) quoted() word {
	w := word{{quoted: true}}
	for l.at < len(l.s) {
		switch l.s[l.at] {
		case '"':
			l.at++
			return w
		case '$':
			w = append(w, l.variable(true))
		default:
			w = append(w, part{quoted: true, text: l.text(func(c byte) bool { return c == '"' || c == '$' })})
		}
	}
	return w
}

// text reads until a character that ends it; a backslash takes the next one as it is.
func (l *lexer) text(ends func(byte) bool) string {
	var out strings.Builder
	for l.at < len(l.s) && !ends(l.s[l.at]) {
		if l.s[l.at] == '\\' && l.at+1 < len(l.s) {
			l.at++
			if l.s[l.at] == '\n' {
				l.at++
				continue
			}
		}
		out.WriteByte(l.s[l.at])
		l.at++
	}
	return out.String()
}

// variable reads $name, ${name}, $1 or $?; a lone dollar sign is itself.
func (l *lexer) variable(quoted bool) part {
	l.at++
	rest := l.s[l.at:]
	if strings.HasPrefix(rest, "{") {
		if end := strings.IndexByte(rest, '}'); end > 0 {
			l.at += end + 1
			return part{text: rest[1:end], isVar: true, quoted: quoted}
		}
	}
	n := 0
	for n < len(rest) && (rest[n] == '_' || isLetter(rest[n]) || isDigit(rest[n])) {
		n++
	}
	if n == 0 && rest != "" && strings.IndexByte("?@*#", rest[0]) >= 0 {
		n = 1
	}
	l.at += n
	if n == 0 {
		return part{text: "$", quoted: quoted}
	}
	return part{text: rest[:n], isVar: true, quoted: quoted}
}
