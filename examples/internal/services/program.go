package services

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/examples/internal/backends"
)

// Customer is who uses the services, over the bus. Its name is that of the service
// which has it run alone.
type Customer struct {
	Name string
	Run  func(ctx context.Context, b *bus.Bus, out io.Writer) error
}

// Program is an example's command line behind its flags: all services in this
// process until the customer has what he wanted, one service until it is
// interrupted, or the customer.
type Program struct {
	Names    []string
	Register Register
	Customer Customer

	backends.Backends
	service string
}

// Flags defines -service, and those of [backends.Backends].
func (p *Program) Flags(flags *flag.FlagSet) {
	p.Backends.Flags(flags)
	flags.StringVar(&p.service, "service", "", "what to run: "+strings.Join(append(p.Names, p.Customer.Name), ", ")+"; all of them if empty")
}

// Run runs what the flags say.
func (p *Program) Run(ctx context.Context, out io.Writer) error {
	switch {
	case p.service == "":
		return p.runAll(ctx, out)
	case !slices.Contains(append(p.Names, p.Customer.Name), p.service):
		return fmt.Errorf("-service %q: want one of %s, %s", p.service, strings.Join(p.Names, ", "), p.Customer.Name)
	case !p.Shared():
		return fmt.Errorf("-service %q needs a -bus that other processes reach, not %q", p.service, p.Bus)
	case p.service == p.Customer.Name:
		return p.runCustomer(ctx, out)
	}
	return Run(ctx, &p.Backends, []string{p.service}, p.Register, func() {})
}

func (p *Program) runAll(ctx context.Context, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var bought error
	err := Run(ctx, &p.Backends, p.Names, p.Register, func() {
		bought = p.runCustomer(ctx, out)
		stop()
	})
	return errors.Join(err, bought)
}

func (p *Program) runCustomer(ctx context.Context, out io.Writer) error {
	b, err := p.OpenBus(ctx, p.Customer.Name)
	if err != nil {
		return err
	}
	return errors.Join(p.Customer.Run(ctx, b, out), b.Close())
}
