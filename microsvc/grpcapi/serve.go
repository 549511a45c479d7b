package grpcapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/tap"

	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
)

// ErrNotDrained reports calls that still ran when the time to drain was over.
// Their connections were cut, and their contexts ended.
var ErrNotDrained = errors.New("grpcapi: calls still run after the time to drain")

// Serve serves svc on addr until ctx ends. Then it answers that it is stopping
// for the drain delay, closes, lets what runs finish, and returns nil. Run it on a
// goroutine of its own.
//
// Errors: as [Register], those of listening, [ErrNotDrained].
func Serve(ctx context.Context, addr string, svc *microsvc.Service, opts *Options) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("grpcapi: %w", err)
	}
	return ServeListener(ctx, l, svc, opts)
}

// ServeListener is [Serve] on a listener, which it closes.
func ServeListener(ctx context.Context, l net.Listener, svc *microsvc.Service, opts *Options) error {
	o, err := opts.withDefaults()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := grpc.NewServer(o.serverOptions()...)
	api, err := Register(server, svc, &o)
	if err != nil {
		server.Stop() // its workers
		return errors.Join(err, l.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	broken := func(err error) error {
		server.Stop()
		return fmt.Errorf("grpcapi: %w", err)
	}
	select {
	case err := <-ended:
		return broken(err)
	case <-ctx.Done():
	}
	api.Drain()
	if o.DrainDelay > 0 {
		timer := time.NewTimer(o.DrainDelay)
		defer timer.Stop()
		select {
		case err := <-ended:
			return broken(err)
		case <-timer.C:
		}
	}
	drained := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(drained)
	}()
	timer := time.NewTimer(o.DrainTimeout)
	defer timer.Stop()
	select {
	case <-drained:
		err = nil
	case <-timer.C:
		server.Stop()
		err = ErrNotDrained
	}
	if end := <-ended; end != nil && !errors.Is(end, grpc.ErrServerStopped) { // which it is if ctx was over before it began
		err = errors.Join(err, end)
	}
	return err
}

// streamWorkers are kept for calls; more have goroutines of their own.
const streamWorkers = 64

func (o *Options) serverOptions() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(o.MaxMessageBytes),
		grpc.MaxHeaderListSize(uint32(min(o.MaxMetadataBytes, math.MaxUint32))),
		grpc.MaxConcurrentStreams(uint32(min(o.MaxStreams, math.MaxUint32))),
		grpc.ConnectionTimeout(o.HandshakeTimeout),
		// A goroutine for each call has its stack grown each time: 9 % of a call.
		grpc.NumStreamWorkers(streamWorkers),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: o.IdleTimeout, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if o.Timeout > 0 {
		opts = append(opts, grpc.InTapHandle(o.limit))
	}
	if o.TLS != nil {
		config := o.TLS.Clone()
		if config.MinVersion == 0 {
			config.MinVersion = tls.VersionTLS12
		}
		opts = append(opts, grpc.Creds(credentials.NewTLS(config)))
	}
	return append(opts, o.Server...)
}

// limit gives a call of a command its deadline before its message is read:
// nothing else ends one whose caller sends it slowly, or not at all.
func (o *Options) limit(ctx context.Context, info *tap.Info) (context.Context, error) {
	if info.FullMethodName != commandpb.CommandService_Dispatch_FullMethodName {
		return ctx, nil
	}
	timed, cancel := context.WithTimeout(ctx, o.Timeout)
	return &limited{timed, cancel}, nil
}

// limited is a context that ends with its parent, which is that of the call: so
// its cancel is not for calling.
type limited struct {
	context.Context
	_ context.CancelFunc
}
