// Package statement reads bank statements: CSV, one booking on each line.
//
//	action,account,amount,other,text
//	open,ACC-0001,,Ann Smith,
//	deposit,ACC-0001,1250.00,,salary
//	withdraw,ACC-0001,20.50,,cash
//	transfer,ACC-0001,700.00,ACC-0002,rent
//	close,ACC-0002,,,
//
// The other column is the owner of an account to open, and the target of a
// transfer. A first line that begins with "action" is a heading. A byte order
// mark, CRLF, quoted fields and blank lines are fine. A statement comes from a
// stranger: whatever is on a line, it is a booking or a [LineError], and the
// next line is read.
package statement
