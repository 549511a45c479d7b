package killtest

import "github.com/troupe-go/troupe/internal/testenv"

// steps is up to how many times a point is passed before the kill: more than a
// service passes it in one conversation.
const steps = 10

// Kills are those of each service in this world. With TROUPE_SOAK=1 each is
// killed at each point the first, second, … time that it gets there; otherwise
// each service is killed at each point on one of the buses.
func (w *World) Kills(services []string) map[string][]Kill {
	kills := map[string][]Kill{}
	if testenv.Count(0, 1) == 1 {
		for _, service := range services {
			for _, point := range Points {
				for n := range steps {
					kills[service] = append(kills[service], Kill{point, n + 1})
				}
			}
		}
		return kills
	}
	i := 0
	for _, point := range Points {
		for _, service := range services {
			if i%len(buses) == w.place {
				kills[service] = append(kills[service], Kill{point, 1 + i%4})
			}
			i++
		}
	}
	return kills
}
