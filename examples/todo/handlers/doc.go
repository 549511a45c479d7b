// Package handlers has a file for each command and event of the todo service.
package handlers
