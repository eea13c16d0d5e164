package env

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// terminalWidth says how many columns the terminal has that stream is; 0 if it is none.
func terminalWidth(stream any) int {
	f, ok := stream.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col == 0 {
		return 80 // one that does not say
	}
	return int(size.Col)
}

// terminalHeight says how many lines the terminal has that stream is; 24 if nobody knows.
func terminalHeight(stream any) int {
	if f, ok := stream.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Row > 0 {
			return int(size.Row)
		}
	}
	return 24
}

// Width says how many columns the terminal has that stream (In, Out or Err) is; 0 if it is none.
func (e *Env) Width(stream any) int {
	if e.Terminal != nil {
		return e.Terminal(stream)
	}
	return terminalWidth(stream)
}

// Confirm asks a question on the terminal, and is true for a yes. Where there is nobody to ask, because the input or the
// error output is no terminal, the command line has said what is wanted, and it is true as well.
func (e *Env) Confirm(question string) (bool, error) {
	if e.Width(e.In) == 0 || e.Width(e.Err) == 0 {
		return true, nil
	}
	if _, err := fmt.Fprintf(e.Err, "%s [y/N] ", question); err != nil {
		return false, err
	}
	answer, err := bufio.NewReader(e.In).ReadString('\n')
	if err != nil && answer == "" {
		return false, nil // hung up: no
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}
