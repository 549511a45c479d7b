package statement_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/examples/bank/statement"
)

// read returns what each line gives, as text.
func read(text string) []string {
	var got []string
	for line, err := range statement.Read(strings.NewReader(text)) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, fmt.Sprintf("%d %s %s %d %s%s %s", line.Number, line.Action, line.Account, line.Cents, line.Owner, line.To, line.Text))
	}
	return got
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"Empty":      {"", nil},
		"BlankLines": {"\n \n\r\n", nil},
		"Heading":    {"action,account,amount,other,text\nclose,A,,,\n", []string{"2 close A 0  "}},
		"BOMAndCRLF": {"\ufeffAction,account,amount,other,text\r\nopen,A,,Ann,\r\n", []string{"2 open A 0 Ann "}},
		"NoLastEnd":  {"close,A,,,", []string{"1 close A 0  "}},
		"Quotes":     {`deposit,A,1.5,,"rent, May"`, []string{"1 deposit A 150  rent, May"}},
		"Transfer":   {"transfer,A,7,B,x", []string{"1 transfer A 700 B x"}},
		"Amounts":    {"deposit,A,0,,\ndeposit,A,12,,\ndeposit,A,12.5,,\ndeposit,A,0012.34,,", []string{"1 deposit A 0  ", "2 deposit A 1200  ", "3 deposit A 1250  ", "4 deposit A 1234  "}},
		"BadAmounts": {"deposit,A,,,\ndeposit,A,-1,,\ndeposit,A,1.234,,\ndeposit,A,.5,,\ndeposit,A,1e9,,\ndeposit,A,1.,,\nwithdraw,A,99999999999999999999999,,", []string{
			`line 1: has the amount "", want a number like 12.50`,
			`line 2: has the amount "-1", want a number like 12.50`,
			`line 3: has the amount "1.234", want a number like 12.50`,
			`line 4: has the amount ".5", want a number like 12.50`,
			`line 5: has the amount "1e9", want a number like 12.50`,
			`line 6: has the amount "1.", want a number like 12.50`,
			`line 7: has the amount "99999999999999999999999", which is too large`,
		}},
		"Malformed": {"deposit,A\ndeposit,,1,,\n\"deposit,A,1,,\nburn,A,,,\nopen,A,,,\nopen,a b,,x,\nclose,A,,\ndeposit,A,1,,\x00\ndeposit,A,1,,\xff\ntransfer,A,1,A,\ntransfer,A,1,,", []string{
			"line 1: has 2 fields, want 5: action,account,amount,other,text",
			"line 2: names no account",
			"line 3: is not CSV: extraneous or missing \" in quoted-field",
			`line 4: has the unknown action "burn", want open, deposit, withdraw, transfer or close`,
			"line 5: names no owner of the account to open",
			`line 6: has the account number "a b", want letters, digits and hyphens`,
			"line 7: has 4 fields, want 5: action,account,amount,other,text",
			"line 8: has a control character at byte 14",
			"line 9: is not UTF-8",
			"line 10: transfers from A to itself",
			"line 11: names no account",
		}},
		"LongLine":   {"close,A,,,\n" + strings.Repeat("x", 10*statement.MaxLineBytes) + "\nclose,B,,,", []string{"1 close A 0  ", "line 2: has more than 1024 bytes", "3 close B 0  "}},
		"LongText":   {"close,A,,," + strings.Repeat("x", 201), []string{"line 1: has a text of more than 200 bytes"}},
		"LongNumber": {"close," + strings.Repeat("x", 33) + ",,,", []string{"line 1: has an account number of 33 bytes, at most 32 are allowed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, read(c.text))
		})
	}
}

func TestReadError(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	var got []error
	for _, err := range statement.Read(io.MultiReader(strings.NewReader("close,A,,,\nclo"), iotest.ErrReader(broken))) {
		got = append(got, err)
	}
	require.Len(t, got, 2)
	require.NoError(t, got[0])
	require.ErrorIs(t, got[1], broken)
}

func FuzzRead(f *testing.F) {
	f.Add("\ufeffopen,A,,\"Ann, B\",\r\ndeposit,A,1.50,,x\n")
	f.Fuzz(func(t *testing.T, text string) {
		last := 0
		for line, err := range statement.Read(strings.NewReader(text)) {
			number := line.Number
			if err != nil {
				var bad *statement.LineError
				require.ErrorAs(t, err, &bad)
				number = bad.Number
				require.Less(t, len(err.Error()), 300)
			}
			require.Greater(t, number, last)
			last = number
			if err == nil {
				require.GreaterOrEqual(t, line.Cents, int64(0))
				require.NotEmpty(t, line.Account)
			}
		}
	})
}

func TestSource(t *testing.T) {
	t.Parallel()
	const text = "close,A,,,\nclose,B,,,\n"
	path := filepath.Join(t.TempDir(), "s.csv")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	fromFile, err := statement.FromFile(path)
	require.NoError(t, err)
	fromBytes, err := statement.FromBytes([]byte(text))
	require.NoError(t, err)
	spooled, err := statement.Spool(strings.NewReader(text))
	require.NoError(t, err)
	for _, s := range []*statement.Source{fromFile, fromBytes, spooled} {
		require.Equal(t, fromBytes.ID, s.ID)
		require.Equal(t, 2, s.Lines)
		for range 2 {
			r, err := s.Open()
			require.NoError(t, err)
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, text, string(got))
		}
		require.NoError(t, s.Close())
	}
	other, err := statement.FromBytes([]byte(text + "\n"))
	require.NoError(t, err)
	require.NotEqual(t, fromBytes.ID, other.ID)

	_, err = statement.FromFile(filepath.Dir(path))
	require.ErrorContains(t, err, "is a folder, not a statement")
	_, err = statement.FromFile(path + ".none")
	require.ErrorIs(t, err, os.ErrNotExist)
}
