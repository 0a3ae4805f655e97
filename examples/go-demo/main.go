// demo says which machine it was compiled for and where it runs.
package main

import (
	"fmt"
	"os"
	"runtime"
)

// version is set by the linker: -ldflags "-X main.version=…".
var version = "dev"

func main() {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	fmt.Printf("demo %s %s/%s on %s\n", version, runtime.GOOS, runtime.GOARCH, host)
}
