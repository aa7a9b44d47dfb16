package main

import (
	"context"
	"errors"

	"github.com/dockstack/dockstack/internal/admin"
)

var errSoon = errors.New("not wired")

func (o operator) Ask(context.Context, admin.Question) (admin.Answer, error) {
	return admin.Answer{}, errSoon
}
func (o operator) Records(context.Context) ([]admin.Record, error) { return nil, errSoon }
func (o operator) AddRecord(context.Context, admin.Record) (admin.Record, error) {
	return admin.Record{}, errSoon
}

func (o operator) RemoveRecord(context.Context, admin.Record) ([]admin.Record, error) {
	return nil, errSoon
}

func (o operator) Doctor(context.Context, admin.DoctorMode) (admin.Report, error) {
	return admin.Report{}, errSoon
}
