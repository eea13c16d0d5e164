// Package netns makes, enters and removes named network namespaces, the files under /run/netns that ip-netns(8) uses.
//
// It owns the namespaces that it made and nothing else: a mark inside the namespace tells them from an operator's, and
// because the mark lives and dies with the namespace, one left over by a crash is known as ours at the next start.
// Called by netio and tun, from the control side only. It starts one goroutine for each Do, which ends with it.
package netns
