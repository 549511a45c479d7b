package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"io"
	"strings"
)

// The document is AsyncAPI 3.0.0, https://www.asyncapi.com/docs/reference/specification/v3.0.0.
// It is about all packages at once: what one sends another may receive.

type asyncDocument struct {
	AsyncAPI           string                     `json:"asyncapi"`
	Info               asyncInfo                  `json:"info"`
	DefaultContentType string                     `json:"defaultContentType"`
	Channels           map[string]*asyncChannel   `json:"channels"`
	Operations         map[string]*asyncOperation `json:"operations"`
	Components         asyncComponents            `json:"components"`
}

type asyncInfo struct {
	Title   string `json:"title"`
	Version string `json:"version"`
}

type asyncChannel struct {
	Address  *string                 `json:"address"` // null: known only at run time
	Title    string                  `json:"title,omitempty"`
	Summary  string                  `json:"summary,omitempty"`
	Messages map[string]asyncMessage `json:"messages"`
}

type asyncMessage struct {
	Name    string      `json:"name"`
	Summary string      `json:"summary,omitempty"`
	Payload *jsonSchema `json:"payload"`
	Schema  uint32      `json:"x-schema,omitempty"` // of an event
}

type asyncOperation struct {
	Action   string      `json:"action"`
	Title    string      `json:"title,omitempty"`
	Summary  string      `json:"summary,omitempty"`
	Channel  asyncRef    `json:"channel"`
	Messages []asyncRef  `json:"messages"`
	Reply    *asyncReply `json:"reply,omitempty"`
}

type asyncReply struct {
	Channel  asyncRef   `json:"channel"`
	Messages []asyncRef `json:"messages"`
}

type asyncRef struct {
	Ref string `json:"$ref"`
}

type asyncComponents struct {
	Schemas map[string]*jsonSchema `json:"schemas"`
}

// printAsyncAPI writes c as an AsyncAPI document: a channel for each event and
// each command, sent and received as the model does.
func printAsyncAPI(w io.Writer, c *catalogue) error {
	d := &asyncWriter{
		doc: asyncDocument{
			AsyncAPI:           "3.0.0",
			Info:               asyncInfo{Title: c.name(), Version: "0.0.0"}, // the packages have none
			DefaultContentType: "application/json",
			Channels:           map[string]*asyncChannel{},
			Operations:         map[string]*asyncOperation{},
		},
		schemas:  &schemas{all: map[string]*jsonSchema{}, keys: map[string]string{}, unique: unique{}, open: map[string]bool{}},
		channels: unique{}, operations: unique{},
		events: map[*eventEntry]string{},
	}
	for _, p := range c.packages {
		for _, a := range p.aggregates {
			for _, e := range a.events {
				d.event(e)
			}
		}
	}
	for _, p := range c.packages {
		for _, a := range p.aggregates {
			for _, cmd := range a.commands {
				d.command(cmd)
			}
		}
		for _, cmd := range p.commands {
			d.command(cmd)
		}
	}
	for _, p := range c.packages {
		for _, a := range p.aggregates {
			for _, e := range a.events {
				for _, l := range e.listeners {
					d.listener(l, e)
				}
			}
		}
	}
	d.doc.Components.Schemas = d.schemas.all
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(d.doc)
}

type asyncWriter struct {
	doc                  asyncDocument
	schemas              *schemas
	channels, operations unique                 // keys
	events               map[*eventEntry]string // keys of their channels
}

// event adds the channel of e, and that it is sent.
func (d *asyncWriter) event(e *eventEntry) {
	name := e.durableName()
	decl := e.aggregate.pkg.declared[e.payload]
	in := decl.scope(e.aggregate.pkg.source)
	payload := d.schemas.declared(ast.NewIdent(e.payload), decl, in, in)
	key := d.channel(name, &asyncChannel{
		Title:   fmt.Sprintf("Event %s of aggregate %s", e.name, e.aggregate.durable),
		Summary: e.summary(),
	}, asyncMessage{Name: name, Payload: payload, Schema: e.schema})
	d.events[e] = key
	d.operation("send."+name, key, &asyncOperation{Action: "send", Title: e.aggregate.name + "." + e.command})
}

// command adds the channels of c and of its reply, and that it is received.
func (d *asyncWriter) command(c *commandEntry) {
	in, out := &jsonSchema{}, &jsonSchema{}
	if c.in.expr != nil {
		in, out = d.schemas.of(c.in.expr, c.in.in), d.schemas.of(c.out.expr, c.out.in)
	}
	title := "Command " + c.name
	if on := strings.TrimPrefix(c.on, "*"); on != "" {
		title += " of " + on
	}
	key := d.channel(c.name, &asyncChannel{Title: title, Summary: c.doc}, asyncMessage{Name: c.name, Payload: in})
	reply := d.channels.name(key+".reply", ".")
	message := componentKey(c.name + ".reply")
	d.doc.Channels[reply] = &asyncChannel{
		Title:    "Reply of command " + c.name,
		Messages: map[string]asyncMessage{message: {Name: c.name + ".reply", Payload: out}},
	}
	op := &asyncOperation{Action: "receive", Reply: &asyncReply{Channel: channelRef(reply), Messages: []asyncRef{messageRef(reply, message)}}}
	if c.mustExist {
		op.Summary = "The aggregate must exist."
	}
	if c.variable != "" {
		op.Title = c.pkg.label + "." + c.variable
	}
	d.operation("receive."+c.name, key, op)
}

// listener adds that l receives e.
func (d *asyncWriter) listener(l *listenerEntry, e *eventEntry) {
	d.operation("receive."+e.durableName()+"."+l.name(), d.events[e], &asyncOperation{
		Action: "receive", Title: l.name(), Summary: "Listens in the process.",
	})
}

// channel adds a channel for messages called name, and returns its key.
func (d *asyncWriter) channel(name string, ch *asyncChannel, m asyncMessage) string {
	key := d.channels.name(componentKey(name), ".")
	address := asyncAddress.Replace(name)
	ch.Address = &address
	ch.Messages = map[string]asyncMessage{componentKey(name): m}
	d.doc.Channels[key] = ch
	return key
}

// operation adds what is done with the one message of a channel.
func (d *asyncWriter) operation(name, channel string, op *asyncOperation) {
	op.Channel = channelRef(channel)
	for message := range d.doc.Channels[channel].Messages {
		op.Messages = []asyncRef{messageRef(channel, message)}
	}
	d.doc.Operations[d.operations.name(componentKey(name), ".")] = op
}

// asyncAddress escapes what an address would read as a parameter, a query or a
// fragment.
var asyncAddress = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D", "?", "%3F", "#", "%23")

func channelRef(key string) asyncRef { return asyncRef{"#/channels/" + key} }

func messageRef(channel, message string) asyncRef {
	return asyncRef{"#/channels/" + channel + "/messages/" + message}
}
