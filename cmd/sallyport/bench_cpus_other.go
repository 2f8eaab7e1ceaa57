//go:build !linux

package main

import "errors"

func pin([]int) error { return errors.New("only Linux can be told which cores to use") }
