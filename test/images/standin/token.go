package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// tokenLoad logs in at a Keystone as $ADMIN_USER, and then has it validate the token for some seconds, by several
// clients at once that keep their connections, as services do. It says how many validations there were in how long.
func tokenLoad(ctx context.Context, args []string) error {
	clients, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	seconds, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("seconds: %w", err)
	}
	url := args[0] + "/v3/auth/tokens"
	token, err := login(ctx, url)
	if err != nil {
		return fmt.Errorf("log in at %s: %w", url, err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: time.Minute}
	began := time.Now()
	until := began.Add(time.Duration(seconds) * time.Second)
	done, errs := make([]int, clients), make([]error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for time.Now().Before(until) && errs[i] == nil {
				errs[i] = validate(ctx, client, url, token)
				done[i]++
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	sum := 0
	for _, n := range done {
		sum += n
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"validations": sum, "seconds": time.Since(began).Seconds()})
}

// login gets a token of the administrator's.
func login(ctx context.Context, url string) (string, error) {
	type m = map[string]any
	def := m{"id": "default"}
	body, err := json.Marshal(m{"auth": m{
		"identity": m{"methods": []string{"password"}, "password": m{"user": m{
			"name": os.Getenv("ADMIN_USER"), "password": os.Getenv("ADMIN_PASSWORD"), "domain": def,
		}}},
		"scope": m{"project": m{"name": os.Getenv("ADMIN_TENANT"), "domain": def}},
	}})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated {
		return "", errors.New(resp.Status)
	}
	return resp.Header.Get("X-Subject-Token"), nil
}

// validate asks once whose the token is.
func validate(ctx context.Context, client *http.Client, url, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("X-Subject-Token", token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("validate a token: %s", resp.Status)
	}
	return nil
}
