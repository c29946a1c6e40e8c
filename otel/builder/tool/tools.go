//go:build tools

// Package tools pins the program that writes the collector's sources.
package tools

import _ "go.opentelemetry.io/collector/cmd/builder"
