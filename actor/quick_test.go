package actor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/journal/memory"
)

func BenchmarkQuick(b *testing.B) {
	for _, n := range []int{1, 64, 1000} {
		b.Run(fmt.Sprint("actor/", n), func(b *testing.B) {
			j, _ := memory.Open(nil)
			sys, _ := actor.NewSystem(j, nil)
			h, _ := actor.Host(sys, counterSpec, nil)
			b.ReportAllocs()
			var wg sync.WaitGroup
			per := b.N/n + 1
			for g := range n {
				wg.Go(func() {
					id := fmt.Sprint("c", g)
					for range per {
						if _, err := addCmd.Ask(context.Background(), h, add{id, 1}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			_ = sys.Stop(context.Background())
		})
		b.Run(fmt.Sprint("mutex/", n), func(b *testing.B) {
			type shard struct {
				mu sync.Mutex
				m  map[string]*struct {
					n    int
					recs [][]byte
				}
			}
			var shards [64]shard
			for i := range shards {
				shards[i].m = map[string]*struct {
					n    int
					recs [][]byte
				}{}
			}
			b.ReportAllocs()
			var wg sync.WaitGroup
			per := b.N/n + 1
			for g := range n {
				wg.Go(func() {
					id := fmt.Sprint("c", g)
					s := &shards[g%64]
					for range per {
						s.mu.Lock()
						x := s.m[id]
						if x == nil {
							x = &struct {
								n    int
								recs [][]byte
							}{}
							s.m[id] = x
						}
						data, _ := json.Marshal(added{1})
						x.recs = append(x.recs, data)
						x.n++
						s.mu.Unlock()
					}
				})
			}
			wg.Wait()
		})
	}
}
