package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/register"
)

func natsConfig() *cobra.Command {
	var keysFile, registerFile string
	c := &cobra.Command{
		Use: "nats", Short: "Print what a NATS server of its own runs with", Args: arguments(0, 0),
		Long: `Print the configuration of a nats-server (2.15.2 or later) that the exchange uses in place of
the embedded one: accounts, auth callout, JetStream that syncs always. Include it in the server's own file,
which says where it listens and keeps its data, and set nats.urls and nats.keys for the exchange.

Each member has an account there. When members join, print it anew and have the server reload it.`,
		RunE: func(c *cobra.Command, _ []string) error {
			keys, err := natsKeys(keysFile)
			if errors.Is(err, os.ErrNotExist) {
				keys, err = makeKeys(keysFile)
			}
			if err != nil {
				return err
			}
			text, err := os.ReadFile(registerFile)
			if err != nil {
				return err
			}
			file, err := register.Parse(text)
			if err != nil {
				return err
			}
			s := broker.Settings{Keys: keys}
			for _, m := range file.Members {
				if m.Kind != exchange.NetworkOwner {
					s.Members = append(s.Members, m.ID)
				}
			}
			out, err := s.Text()
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), out)
			return err
		},
	}
	c.Flags().StringVar(&keysFile, "keys", "", "file with the keys, which is made where it is not there")
	c.Flags().StringVarP(&registerFile, "file", "f", "", "register file that names the members (tocsin export)")
	_, _ = c.MarkFlagRequired("keys"), c.MarkFlagRequired("file")
	return c
}

func natsKeys(file string) (*broker.Keys, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	keys := new(broker.Keys)
	if err := json.Unmarshal(text, keys); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

func makeKeys(file string) (*broker.Keys, error) {
	keys, err := broker.NewKeys()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(keys, "", "  ") //nolint:gosec // the file of keys has the passwords: it is what is asked for
	if err != nil {
		return nil, err
	}
	return keys, os.WriteFile(file, append(text, '\n'), 0o600)
}
