package server

import "concentrator/internal/store"

// checkNamespace refuses a namespace that the process could neither make nor enter: it would be stored, and never come up. What
// was stored before may stay. old is nil for a new record.
func checkNamespace[T store.Record](b *backend, old, r *T, bad *fieldErrors) {
	name := store.NamespaceOf(r)
	if !b.noNamespaces || name == "" || name == store.NamespaceOf(old) {
		return
	}
	path := "namespace"
	if store.KindOf[T]() == store.KindTenant {
		path = "network.namespace"
	}
	bad.addUnmet(path, "the instance has given up the right to network namespaces: it keeps it with "+
		"`privileges: {namespaces: always}` in its file, or with a namespace in what is stored or applied at its start")
}
