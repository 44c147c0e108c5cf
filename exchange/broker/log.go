package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// serverLog passes the server's messages on and keeps what it calls fatal.
type serverLog struct {
	log *slog.Logger
	mu  sync.Mutex
	err error
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *serverLog) say(level func(string, ...any), format string, v []any) {
	if l.log != nil {
		level("nats", "message", fmt.Sprintf(format, v...))
	}
}

// Fatalf implements server.Logger, and so do those below.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	l.err = errors.Join(l.err, fmt.Errorf(format, v...))
	l.mu.Unlock()
	l.Errorf(format, v...)
}

// Errorf logs an error of the server.
func (l *serverLog) Errorf(format string, v ...any) {
	if l.log != nil {
		l.say(l.log.Error, format, v)
	}
}

// Warnf logs a warning of the server.
func (l *serverLog) Warnf(format string, v ...any) {
	if l.log != nil {
		l.say(l.log.Warn, format, v)
	}
}

// Noticef drops what the server tells about itself.
func (l *serverLog) Noticef(string, ...any) {}

// Debugf drops debugging output.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef drops the protocol trace.
func (l *serverLog) Tracef(string, ...any) {}
