package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/troupe-go/troupe/microsvc"
)

// ErrNotDrained reports requests that still ran when the time to drain was over.
// Their connections were cut, and their contexts ended.
var ErrNotDrained = errors.New("httpapi: requests still run after the time to drain")

// Serve serves svc on addr until ctx ends. Then it answers 503 with Retry-After
// for the drain delay, closes, lets what runs finish, and returns nil. Run it on a
// goroutine of its own.
//
// Errors: as [Handler], those of listening, [ErrNotDrained].
func Serve(ctx context.Context, addr string, svc *microsvc.Service, opts *Options) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("httpapi: %w", err)
	}
	return ServeListener(ctx, l, svc, opts)
}

// ServeListener is [Serve] on a listener, which it closes.
func ServeListener(ctx context.Context, l net.Listener, svc *microsvc.Service, opts *Options) error {
	api, err := Handler(svc, opts)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	o := &api.opts
	base, cancel := context.WithCancel(context.WithoutCancel(ctx)) // requests outlive ctx by the time to drain
	defer cancel()
	server := &http.Server{
		Handler:           api,
		ReadHeaderTimeout: o.HeaderTimeout,
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    o.MaxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	serve := func() error { return server.Serve(l) }
	if o.TLS != nil {
		server.TLSConfig = o.TLS.Clone()
		if server.TLSConfig.MinVersion == 0 {
			server.TLSConfig.MinVersion = tls.VersionTLS12
		}
		serve = func() error { return server.ServeTLS(l, "", "") }
	}
	ended := make(chan error, 1)
	go func() { ended <- serve() }()
	select {
	case err := <-ended:
		return fmt.Errorf("httpapi: %w", err)
	case <-ctx.Done():
	}
	api.Drain()
	if o.DrainDelay > 0 {
		timer := time.NewTimer(o.DrainDelay)
		defer timer.Stop()
		select {
		case err := <-ended:
			return fmt.Errorf("httpapi: %w", err)
		case <-timer.C:
		}
	}
	draining, stop := context.WithTimeout(base, o.DrainTimeout)
	defer stop()
	err = server.Shutdown(draining)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		return errors.Join(fmt.Errorf("httpapi: %w", served), err)
	}
	if err != nil {
		cancel()
		return errors.Join(fmt.Errorf("%w: %w", ErrNotDrained, err), server.Close())
	}
	return nil
}
