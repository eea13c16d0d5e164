package env

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
)

// Screen draws a List response's table over what stands on the terminal that Out is, and a note below it. Without a list
// only the note is new, and stands in the first line. What has no room is left out.
func (e *Env) Screen(list proto.Message, columns []Column, note string) error {
	if list == nil {
		_, err := fmt.Fprintf(e.Out, "\x1b[H%s\x1b[K", cut(Clean(note), e.Width(e.Out)))
		return err
	}
	table, err := e.Table(list, columns, "")
	if err != nil {
		return err
	}
	width, height := e.Width(e.Out), terminalHeight(e.Out)
	lines := append([]string{e.Time().Format(time.RFC3339)}, strings.Split(strings.TrimSuffix(table, "\n"), "\n")...)
	if len(lines) > height-1 {
		lines = append(lines[:height-2], fmt.Sprintf("and %d more", len(lines)-(height-2)))
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, line := range lines {
		b.WriteString(cut(line, width) + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	_, err = fmt.Fprint(e.Out, b.String())
	return err
}

// cut cuts a line to a terminal's width.
func cut(line string, width int) string {
	runes := []rune(line)
	if width > 0 && len(runes) > width {
		runes = runes[:width]
	}
	return string(runes)
}
