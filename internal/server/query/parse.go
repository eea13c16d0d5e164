package query

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// filterError says what is wrong at a place of a filter.
type filterError struct {
	at   int // characters before it
	text string
}

func (e *filterError) Error() string { return fmt.Sprintf("character %d: %s", e.at+1, e.text) }

// filterScanner cuts a filter into what the grammar is made of. Where a value is wanted, it may hold characters that would
// be operators elsewhere, as in startTime > 2030-01-31T00:00:00Z.
type filterScanner struct {
	text string
	pos  int // octets
}

func (s *filterScanner) errorAt(pos int, format string, args ...any) error {
	return &filterError{utf8.RuneCountInString(s.text[:pos]), fmt.Sprintf(format, args...)}
}

func (s *filterScanner) rest() string { return s.text[s.pos:] }

func (s *filterScanner) space() {
	s.pos = len(s.text) - len(strings.TrimLeftFunc(s.rest(), unicode.IsSpace))
}

// take goes on behind a token if it comes next.
func (s *filterScanner) take(token string) bool {
	s.space()
	if !strings.HasPrefix(s.rest(), token) {
		return false
	}
	s.pos += len(token)
	return true
}

// keyword is take for AND, OR and NOT, which end at the end of the word.
func (s *filterScanner) keyword(word string) bool {
	s.space()
	rest, ok := strings.CutPrefix(s.rest(), word)
	if !ok {
		return false
	}
	if r, _ := utf8.DecodeRuneInString(rest); rest != "" && r != '(' && r != ')' && !unicode.IsSpace(r) {
		return false
	}
	s.pos += len(word)
	return true
}

// atEnd says whether nothing, or nothing but the end of a parenthesis, comes next.
func (s *filterScanner) atEnd() bool {
	s.space()
	return s.rest() == "" || s.rest()[0] == ')'
}

// next shows what comes next, for errors.
func (s *filterScanner) next() string {
	s.space()
	if s.rest() == "" {
		return "the end"
	}
	word := s.rest()
	if end := strings.IndexFunc(word, unicode.IsSpace); end > 0 {
		word = word[:end]
	}
	if utf8.RuneCountInString(word) > 20 {
		word = string([]rune(word)[:20]) + "..."
	}
	return fmt.Sprintf("%q", word)
}

// bare reads up to white space, a parenthesis, a quotation mark, or one of stop.
func (s *filterScanner) bare(stop string) string {
	end := strings.IndexFunc(s.rest(), func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(`()"'`+stop, r)
	})
	if end < 0 {
		end = len(s.rest())
	}
	word := s.rest()[:end]
	s.pos += end
	return word
}

// comparators are read in order: the longer ones first.
var comparators = []string{"<=", ">=", "!=", "<", ">", "=", ":"}

// segment is one part of a field's path, and where it stands.
type segment struct {
	text string
	pos  int
}

// field reads the path of a field: a.b.c; a part that is the key of a map may be quoted.
func (s *filterScanner) field() ([]segment, error) {
	s.space()
	var list []segment
	for {
		begin := s.pos
		var word string
		if s.rest() != "" && (s.rest()[0] == '"' || s.rest()[0] == '\'') && len(list) > 0 {
			v, err := s.quoted()
			if err != nil {
				return nil, err
			}
			word = v.text
		} else {
			word = s.bare("=<>!:,.")
		}
		if word == "" {
			return nil, s.errorAt(begin, "the name of a field must come here, not %s", s.next())
		}
		list = append(list, segment{word, begin})
		if s.rest() == "" || s.rest()[0] != '.' {
			return list, nil
		}
		s.pos++
	}
}

// operand is what a field is compared with.
type operand struct {
	text string
	// parts are what stands between the wildcards; one part means that there is none.
	parts  []string
	quoted bool
	pos    int
}

// isStar says whether the operand is the bare *, which stands for any value at all.
func (o operand) isStar() bool { return o.text == "*" && !o.quoted }

// wild says whether the operand has a wildcard.
func (o operand) wild() bool { return len(o.parts) > 1 }

// operand reads a value.
func (s *filterScanner) operand() (operand, error) {
	s.space()
	if s.rest() != "" && (s.rest()[0] == '"' || s.rest()[0] == '\'') {
		return s.quoted()
	}
	begin := s.pos
	word := s.bare("=<>!,")
	if word == "" {
		return operand{}, s.errorAt(begin, "a value must come here, not %s; one with white space stands in quotation marks", s.next())
	}
	return operand{text: word, parts: strings.Split(word, "*"), pos: begin}, nil
}

// quoted reads a value in quotation marks. A backslash takes its meaning from the next character, also from *.
func (s *filterScanner) quoted() (operand, error) {
	begin, mark := s.pos, rune(s.rest()[0])
	var part, text strings.Builder
	v := operand{quoted: true, pos: begin}
	escaped := false
	for i, r := range s.text[begin+1:] {
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
			continue
		case r == mark:
			s.pos = begin + 1 + i + 1
			v.text, v.parts = text.String(), append(v.parts, part.String())
			return v, nil
		case r == '*':
			v.parts = append(v.parts, part.String())
			part.Reset()
			text.WriteRune(r)
			continue
		}
		part.WriteRune(r)
		text.WriteRune(r)
	}
	return operand{}, s.errorAt(begin, "the quotation mark has no other one")
}

// filterParser reads the grammar of google.aip.dev/160. As it says, OR binds more than AND, and terms that only stand beside each
// other must all hold.
type filterParser struct {
	scanner filterScanner
	md      protoreflect.MessageDescriptor
	field   string // of the comparison that is compiled, for errors
	depth   int
	terms   int
}

func (p *filterParser) parse() (condition, error) {
	c, err := p.expression()
	if err != nil {
		return nil, err
	}
	if p.scanner.space(); p.scanner.rest() != "" {
		return nil, p.scanner.errorAt(p.scanner.pos, "AND, OR or the end must come here, not %s", p.scanner.next())
	}
	return c, nil
}

// deeper counts a parenthesis or a NOT.
func (p *filterParser) deeper(pos int) error {
	if p.depth++; p.depth > maxFilterDepth {
		return p.scanner.errorAt(pos, "more than %d levels of parentheses and NOT", maxFilterDepth)
	}
	return nil
}

// expression reads factors that must all hold.
func (p *filterParser) expression() (condition, error) {
	var list []condition
	for {
		c, err := p.factor()
		if err != nil {
			return nil, err
		}
		list = append(list, c)
		if !p.scanner.keyword("AND") && p.scanner.atEnd() {
			return all(list), nil
		}
	}
}

// factor reads terms of which one must hold.
func (p *filterParser) factor() (condition, error) {
	var list []condition
	for {
		c, err := p.term()
		if err != nil {
			return nil, err
		}
		list = append(list, c)
		if !p.scanner.keyword("OR") {
			return anyOf(list), nil
		}
	}
}

// term reads a comparison or a parenthesis, or the opposite of one.
func (p *filterParser) term() (condition, error) {
	p.scanner.space()
	begin := p.scanner.pos
	if p.scanner.keyword("NOT") || p.scanner.take("-") {
		if err := p.deeper(begin); err != nil {
			return nil, err
		}
		c, err := p.term()
		p.depth--
		return not(c), err
	}
	if !p.scanner.take("(") {
		return p.comparison()
	}
	if err := p.deeper(begin); err != nil {
		return nil, err
	}
	c, err := p.expression()
	if err != nil {
		return nil, err
	}
	p.depth--
	if !p.scanner.take(")") {
		return nil, p.scanner.errorAt(begin, "the parenthesis is not closed")
	}
	return c, nil
}

// comparison reads a field, a comparator and a value.
func (p *filterParser) comparison() (condition, error) {
	p.scanner.space()
	begin := p.scanner.pos
	if p.terms++; p.terms > maxFilterTerms {
		return nil, p.scanner.errorAt(begin, "more than %d comparisons", maxFilterTerms)
	}
	field, err := p.scanner.field()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(p.scanner.rest(), "(") {
		return nil, p.scanner.errorAt(begin, "there are no functions; write a field, a comparison and a value")
	}
	for _, op := range comparators {
		if !p.scanner.take(op) {
			continue
		}
		value, err := p.scanner.operand()
		if err != nil {
			return nil, err
		}
		return p.compile(field, op, value)
	}
	p.scanner.space()
	return nil, p.scanner.errorAt(p.scanner.pos, "one of = != < <= > >= : must come here, behind the field, not %s", p.scanner.next())
}

func all(list []condition) condition {
	if len(list) == 1 {
		return list[0]
	}
	return func(m protoreflect.Message) bool {
		for _, c := range list {
			if !c(m) {
				return false
			}
		}
		return true
	}
}

func anyOf(list []condition) condition {
	if len(list) == 1 {
		return list[0]
	}
	return func(m protoreflect.Message) bool {
		for _, c := range list {
			if c(m) {
				return true
			}
		}
		return false
	}
}

func not(c condition) condition { return func(m protoreflect.Message) bool { return !c(m) } }
