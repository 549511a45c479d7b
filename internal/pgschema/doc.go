// Package pgschema creates and checks the schemas of what keeps its state in
// PostgreSQL, by the numbered files of package migrations.
package pgschema
