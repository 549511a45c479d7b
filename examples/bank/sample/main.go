// Command sample writes the statement that the bank ships: always the same
// 10,000 lines, among them every kind of line that a bank must refuse.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
)

func main() {
	out := flag.String("o", "testdata/statement.csv", "file to write")
	flag.Parse()
	f, err := os.Create(*out)
	if err != nil {
		log.Fatal(err)
	}
	w := bufio.NewWriter(f)
	write(w)
	if err := w.Flush(); err != nil {
		log.Fatal(err)
	}
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
}

const (
	lines    = 10_000
	accounts = 400
)

// write writes the statement. The generator's numbers are those of PCG, which
// the library promises not to change.
func write(w io.Writer) {
	r := rand.New(rand.NewPCG(2026, 1))
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	p("action,account,amount,other,text")
	next := 0 // accounts opened so far
	for n := 2; n <= lines; n++ {
		if next < accounts && (next < 20 || r.IntN(20) == 0) {
			next++
			p("open,%s,,%s %s,", number(next), pick(r, firstNames), pick(r, lastNames))
			switch n++; {
			case n > lines:
			case r.IntN(15) == 0:
				p("close,%s,,,on second thoughts", number(next))
			default:
				p("deposit,%s,%s,,to begin with", number(next), amount(r, 500_000))
			}
			continue
		}
		a := number(1 + r.IntN(next))
		switch k := r.IntN(1000); {
		case k < 450:
			p("deposit,%s,%s,,%s", a, amount(r, 200_000), pick(r, []string{"salary", "gift", "sale", "refund"}))
		case k < 700:
			p("withdraw,%s,%s,,%s", a, amount(r, 120_000), pick(r, []string{"cash", "groceries", `"rent, heating"`, "books"}))
		case k < 930:
			p("transfer,%s,%s,%s,%s", a, amount(r, 100_000), number(1+r.IntN(next)), pick(r, []string{"dinner", "rent", "tickets"}))
		case k < 940:
			p("withdraw,%s,%s,,a new house", a, amount(r, 90_000_000))
		case k < 950:
			p("transfer,%s,%s,ACC-%04d,to nobody", a, amount(r, 5_000), 9000+r.IntN(100))
		case k < 960:
			p("deposit,ACC-%04d,%s,,from nobody", 9000+r.IntN(100), amount(r, 5_000))
		case k < 965:
			p("open,%s,,Somebody Else,", a)
		case k < 970:
			p("close,%s,,,", a)
		default:
			p("%s", pick(r, []string{
				"deposit," + a, "deposit," + a + ",12.345,,", "withdraw," + a + ",-5.00,,", "deposit," + a + ",ten,,",
				"burn," + a + ",1.00,,", "deposit,,1.00,,", `deposit,"` + a + ",1.00,,", "this is not a booking",
				"deposit,no such account,1.00,,", "transfer," + a + ",1.00," + a + ",", "deposit," + a + ",0,,nothing",
				"deposit," + a + ",1.00,,\xff\xfe",
			}))
		}
	}
}

func number(n int) string { return fmt.Sprintf("ACC-%04d", n) }

func amount(r *rand.Rand, most int) string {
	cents := 1 + r.IntN(most)
	return fmt.Sprintf("%d.%02d", cents/100, cents%100)
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

var (
	firstNames = []string{"Ann", "Bob", "Cora", "Dirk", "Eva", "Finn", "Grete", "Hugo", "Ida", "Jörg"}
	lastNames  = []string{"Abel", "Baker", "Celik", "Dubois", "Evans", "Fischer", "Garcia", "Hansen"}
)
