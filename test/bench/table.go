package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is figures for people. The first column is words, the others are numbers.
type table struct {
	title string
	head  []string
	rows  [][]string
	notes []string // below it
}

// print writes it with its columns in line.
func (t table) print(w io.Writer) {
	width := make([]int, len(t.head))
	for _, r := range append([][]string{t.head}, t.rows...) {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	fmt.Fprintf(w, "\n%s\n\n", t.title)
	for _, r := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 {
				line.WriteString(c + pad)
			} else {
				line.WriteString("  " + pad + c)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
	for _, n := range t.notes {
		fmt.Fprintln(w, n)
	}
}

// markdown writes it for docs/performance.md.
func (t table) markdown(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n\n| %s |\n|---%s|\n", t.title, strings.Join(t.head, " | "), strings.Repeat("|--:", len(t.head)-1))
	for _, r := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(r, " | "))
	}
	for _, n := range t.notes {
		fmt.Fprintf(w, "\n%s\n", n)
	}
}

// pathTable shows all rows of part "paths", the headlines first.
func pathTable(rows []Row) table {
	t := table{
		title: "Shard CPU time of a packet with 1400 octets inside, nanoseconds; median [quartiles]",
		head: []string{
			"path", "way", "offload", "queue", "shard", "crypto", "I/O", "ratio", "[quartiles]", "Gbit/s", "std crypto", "I/O known",
		},
	}
	var rest []Row
	for _, r := range rows {
		t.rows = append(t.rows, r.cells())
		rest = append(rest, r.Variants...)
	}
	slices.SortStableFunc(rest, func(a, b Row) int {
		return cmp.Or(cmp.Compare(index(a.Offload), index(b.Offload)), cmp.Compare(a.Queue, b.Queue))
	})
	for _, r := range rest {
		t.rows = append(t.rows, r.cells())
	}
	return t
}

func (r Row) cells() []string {
	known, offload := "-", "no"
	if r.IOExpected != 0 {
		known = fmt.Sprintf("%.0f", r.IOExpected)
	}
	if r.Void {
		known += " VOID"
	}
	if r.Offload {
		offload = "yes"
	}
	return []string{
		r.Path, r.Direction, offload, fmt.Sprint(r.Queue),
		fmt.Sprintf("%.0f [%.0f %.0f]", r.NS, r.NSQ1, r.NSQ3),
		fmt.Sprintf("%.0f [%.0f %.0f]", r.CryptoNS, r.CryptoNSQ1, r.CryptoNSQ3),
		fmt.Sprintf("%.0f [%.0f %.0f]", r.IONS, r.IONSQ1, r.IONSQ3),
		fmt.Sprintf("%.2f", r.Ratio), fmt.Sprintf("[%.2f %.2f]", r.RatioQ1, r.RatioQ3),
		fmt.Sprintf("%.1f", r.GbitPerS), fmt.Sprintf("%.0f", r.StdCryptoNS), known,
	}
}
