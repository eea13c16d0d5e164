package traffic

import "sync"

// Gate is the lock that all clients of one Run share, so that its thread takes it once for a batch and not once for a
// packet. It guards all that sealing and opening change: sequence numbers, windows, keys. It is held until what was sealed
// is sent, so that the order on the wire is that of the numbers. A client's own locks are taken before it. A Gate must not
// be copied.
type Gate struct{ sync.Mutex }
