package eap

import (
	"concentrator/internal/wire/chap"
)

// md5Challenge is MD5-Challenge (RFC 3748 section 5.4): CHAP in EAP. The server proves nothing and there are no keys.
type md5Challenge struct {
	password string
	answered bool
}

func (m *md5Challenge) handle(id byte, data []byte) step {
	v, err := chap.ParseValue(data)
	if err != nil {
		return step{silent: true}
	}
	r := chap.MD5Response(id, []byte(m.password), v.Value)
	b, err := chap.Value{Value: r[:]}.AppendBinary(nil)
	if err != nil {
		return step{silent: true}
	}
	m.answered = true
	return step{data: b}
}

func (m *md5Challenge) done() bool           { return m.answered }
func (m *md5Challenge) keys() (*Keys, error) { return nil, nil }
func (m *md5Challenge) close()               {}
