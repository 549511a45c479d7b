package knativebus

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// DefaultIngress is the address of the brokers inside a cluster where Knative
// Eventing was installed as its documentation says.
const DefaultIngress = "http://broker-ingress.knative-eventing.svc.cluster.local/{namespace}/{broker}"

// maxConcurrent bounds [Options].MaxConcurrent: more connections to one ingress
// than that help nobody.
const maxConcurrent = 1024

// Options tune a bus. Service is required; the zero value of the others is the
// default.
type Options struct {
	// Service is this service: the source of what it publishes, and the owner
	// of the broker "{service}-events". A label of RFC 1123 of at most 54 bytes.
	Service string

	// Namespace is that of Kubernetes where the brokers are; empty means
	// "default". A label of RFC 1123.
	Namespace string

	// Ingress is the URL that messages are posted to, with {broker} and, where
	// it matters, {namespace} in the place of their names. Empty means
	// [DefaultIngress], or nothing if there are Brokers.
	Ingress string

	// Brokers has the URLs of single brokers by their names, such as
	// "shipping-commands", to develop without Kubernetes, or for a broker that
	// is elsewhere. Those not in it are at Ingress; with neither, a message
	// waits: it is a [bus.ErrUnavailable].
	Brokers map[string]string

	// Client posts, to bring TLS, proxies and credentials. It is copied, and
	// redirects are never followed. Nil means a client of the bus's own, with
	// the proxies of the environment.
	Client *http.Client

	// ConnectTimeout bounds making a connection, for the bus's own client. Zero
	// means 5 seconds.
	ConnectTimeout time.Duration

	// Timeout bounds how long a broker may take to answer to one message. Zero
	// means 10 seconds.
	Timeout time.Duration

	// MaxConcurrent is how many messages of one call are on their way at a time.
	// Zero means 16; at most 1,024.
	MaxConcurrent int

	// MaxMessageBytes is what the brokers take, payload and headers together: a
	// larger message is refused. Zero means that only they say.
	MaxMessageBytes int
}

func (o Options) withDefaults() (Options, error) {
	if err := checkService("Service", o.Service); err != nil {
		return o, err
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if why := labelFault(o.Namespace, maxLabel); why != "" {
		return o, envelope.Invalid("option Namespace", o.Namespace, why)
	}
	if o.Ingress == "" && len(o.Brokers) == 0 {
		o.Ingress = DefaultIngress
	}
	if o.Ingress != "" {
		if !strings.Contains(o.Ingress, "{broker}") {
			return o, envelope.Invalid("option Ingress", o.Ingress, "has no {broker}: all brokers would be one")
		}
		if err := checkURL("option Ingress", expand(o.Ingress, o.Namespace, "broker")); err != nil {
			return o, err
		}
	}
	for name, at := range o.Brokers {
		if why := labelFault(name, maxLabel); why != "" {
			return o, envelope.Invalid("option Brokers", name, why)
		}
		if err := checkURL("option Brokers "+name, at); err != nil {
			return o, err
		}
	}
	for _, t := range []struct {
		field string
		value *time.Duration
		def   time.Duration
	}{{"ConnectTimeout", &o.ConnectTimeout, 5 * time.Second}, {"Timeout", &o.Timeout, 10 * time.Second}} {
		if *t.value < 0 {
			return o, envelope.Invalid("option "+t.field, t.value.String(), "is negative")
		}
		if *t.value == 0 {
			*t.value = t.def
		}
	}
	if o.MaxConcurrent < 0 || o.MaxConcurrent > maxConcurrent {
		return o, envelope.Invalid("option MaxConcurrent", fmt.Sprint(o.MaxConcurrent), fmt.Sprintf("want 0 to %d", maxConcurrent))
	}
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = 16
	}
	if o.MaxMessageBytes < 0 {
		return o, envelope.Invalid("option MaxMessageBytes", fmt.Sprint(o.MaxMessageBytes), "is negative")
	}
	return o, nil
}

// features of a transport with these options.
func (o *Options) features() bus.Features {
	return bus.Features{Name: "knative", MaxMessageBytes: o.MaxMessageBytes}
}

// checkURL takes absolute URLs of HTTP. Errors show no password.
func checkURL(field, text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return envelope.Invalid(field, "", "is no URL") // its text may have a password, and url.Parse shows it
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return envelope.Invalid(field, u.Redacted(), "want an absolute URL of http or https")
	case u.Fragment != "":
		return envelope.Invalid(field, u.Redacted(), "has a fragment")
	}
	return nil
}

func expand(ingress, namespace, broker string) string {
	return strings.NewReplacer("{namespace}", namespace, "{broker}", broker).Replace(ingress)
}

// client is what posts, and how to let go of its connections.
func (o *Options) client() (c *http.Client, release func()) {
	if o.Client != nil {
		own := *o.Client
		own.CheckRedirect = stay
		return &own, func() {}
	}
	dialer := &net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: o.ConnectTimeout, IdleConnTimeout: 90 * time.Second,
		MaxIdleConns: 2 * o.MaxConcurrent, MaxIdleConnsPerHost: o.MaxConcurrent,
	}
	return &http.Client{Transport: t, CheckRedirect: stay}, t.CloseIdleConnections
}

// stay has a redirect answered like any other status: a message that went on to
// somewhere else would be confirmed by somebody else.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
