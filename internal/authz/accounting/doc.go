// Package accounting keeps the accounting records of all tenants until somebody has acknowledged them.
//
// It owns the Ledger: a record is first made durable in a Storage, then given to its tenant's Sink (a RADIUS server, or
// the File or Syslog of this package), and leaves the Storage when the Sink has acknowledged it. So a record is neither
// lost by a crash or by days of silent servers, nor sent twice, but for one that is acknowledged while the process dies.
// A session that was alive when the process died gets its Stop when the Ledger is opened again.
//
// Session opens the Ledger before the first login, tells it of every session's begin, counters and end, and runs Run.
// Ledger.Run starts one goroutine for each tenant that has records to send and one for each record under way; nothing
// else here starts any, and all have ended when Run returns. Ledger, File and Syslog are safe for concurrent use.
//
// Which record goes when is in schedule.go, what is stored in form.go.
//
// RFCs: 2866 (what the records mean), 5424 (Syslog). How a record becomes a RADIUS packet is in authz/radius.
package accounting
