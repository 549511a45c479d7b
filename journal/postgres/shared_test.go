package postgres_test

func childContend() error { return nil }
