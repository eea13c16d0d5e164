package store

// NamespaceOf is the network namespace that a record names; "" for none, or for no record.
func NamespaceOf[T Record](r *T) string {
	if r == nil {
		return ""
	}
	switch r := any(r).(type) {
	case *Tenant:
		return r.Network.Namespace
	case *RadiusServer:
		return r.Namespace
	case *Listener:
		return r.Namespace
	}
	return ""
}

// AnyNamespace says whether a stored record names a network namespace.
func (s *Store) AnyNamespace() (bool, error) {
	for _, in := range []func(*Store) (bool, error){anyIn[Tenant], anyIn[Listener], anyIn[RadiusServer]} {
		if yes, err := in(s); yes || err != nil {
			return yes, err
		}
	}
	return false, nil
}

func anyIn[T Record](s *Store) (bool, error) {
	parent := ""
	if _, inTenant := CollectionOf(KindOf[T]()); inTenant {
		parent = "tenants/-"
	}
	all, _, err := List[T](s, parent, "", 0)
	for _, r := range all {
		if NamespaceOf(r) != "" {
			return true, nil
		}
	}
	return false, err
}
