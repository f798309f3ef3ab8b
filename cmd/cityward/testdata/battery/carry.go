// Carry sends a file to an address.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	conn, err := net.Dial("tcp", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(conn, file); err != nil {
		log.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		log.Fatal(err)
	}
}
