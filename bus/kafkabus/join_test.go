package kafkabus_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-go/troupe/bus/kafkabus"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// joining is how a member asks to join a group.
type joining struct {
	group, kind       string
	protocols, topics []string
}

// recordedJoins reads how a Rust service joins its groups.
func recordedJoins(t testing.TB) (all []joining) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", "rust-1.5.0-consume.kafka"))
	require.NoError(t, err)
	text := func(quoted string) string {
		s, err := strconv.Unquote(quoted)
		require.NoError(t, err, quoted)
		return s
	}
	joins := false
	for line := range strings.Lines(string(file)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "request" {
			if joins = strings.HasPrefix(rest, "JoinGroup "); joins {
				all = append(all, joining{})
			}
		}
		if !joins {
			continue
		}
		j := &all[len(all)-1]
		switch word {
		case "group":
			j.group = text(rest)
		case "type":
			j.kind = text(rest)
		case "protocol":
			name, metadata, ok := strings.Cut(rest, " ")
			require.True(t, ok, line)
			var subscription kmsg.ConsumerMemberMetadata
			require.NoError(t, subscription.ReadFrom([]byte(text(metadata))))
			j.protocols, j.topics = append(j.protocols, text(name)), subscription.Topics
		}
	}
	require.Len(t, all, 2)
	return all
}

// TestJoinsTheRustServicesGroup: in compat mode the groups have its names, for its
// topics, and a protocol that it offers.
func TestJoinsTheRustServicesGroup(t *testing.T) {
	t.Parallel()
	ns := buskit.Namespace()
	b := connect(t, brokers(t), kafkabus.Options{Group: "rust", Namespace: ns, Compat: true})
	buskit.Subscribe(t, b, "order.shipped")
	commands, err := b.Transport().Listen(buskit.Ctx(t), []string{"order.ship"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, commands.Close(context.Background())) })

	_, admin := stranger(t, brokers(t))
	for _, theirs := range recordedJoins(t) {
		rename := func(name string) string { return ns + strings.TrimPrefix(name, "rust-app.v1") }
		var ours kadm.DescribedGroup
		until(t, "it has joined for all topics", func() bool { // it joins anew as it finds them
			all, err := admin.DescribeGroups(buskit.Ctx(t), rename(theirs.group))
			require.NoError(t, err)
			ours = all[rename(theirs.group)]
			if ours.State != "Stable" || len(ours.Members) != 1 {
				return false
			}
			member, ok := ours.Members[0].Join.AsConsumer()
			return ok && !slices.ContainsFunc(theirs.topics, func(topic string) bool { return !slices.Contains(member.Topics, rename(topic)) })
		})
		require.Equal(t, theirs.kind, ours.ProtocolType)
		require.Contains(t, theirs.protocols, ours.Protocol)
	}
}
