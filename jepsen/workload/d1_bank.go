package workload

import (
	"encoding/json"
	"fmt"

	"bindery/jepsen/check"
	"bindery/jepsen/d1"
	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// The d1-bank workload: money goes from account to account, each transfer one batch that also writes down what it was; nothing
// but the transaction keeps a transfer from being made twice. An account that would become negative refuses all of it.

const bankPage = 3000

var bankSchema = []d1.Statement{
	d1.SQL("CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))"),
	d1.SQL("CREATE TABLE IF NOT EXISTS transfer (n INTEGER PRIMARY KEY, id INTEGER NOT NULL, a INTEGER NOT NULL, b INTEGER NOT NULL, amount INTEGER NOT NULL)"),
	d1.SQL("INSERT INTO account WITH RECURSIVE i (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM i WHERE n < ?1 - 1) "+
		"SELECT n, ?2 FROM i WHERE true ON CONFLICT (id) DO NOTHING", int64(check.BankAccounts), int64(check.BankBalance)),
}

func stepD1Bank(worker *Worker) {
	database := worker.database()
	if worker.Rng.Intn(100) < 40 {
		worker.d1Read("read", databaseName(database), nil, worker.node, database, "", bankTold,
			d1.SQL("SELECT balance FROM account ORDER BY id"), d1.SQL("SELECT coalesce(max(n), 0) FROM transfer"))
		return
	}
	from := worker.Rng.Intn(check.BankAccounts)
	to := (from + 1 + worker.Rng.Intn(check.BankAccounts-1)) % check.BankAccounts
	transfer := history.Transfer{ID: worker.next(), From: from, To: to, Amount: int64(1 + worker.Rng.Intn(check.BankBalance/2))}
	worker.d1Write("transfer", databaseName(database), transfer, worker.node, database, "",
		func(*d1.Reply) (history.Value, error) { return transfer, nil },
		d1.SQL("UPDATE account SET balance = balance + ?1 WHERE id = ?2", transfer.Amount, int64(to)),
		d1.SQL("INSERT INTO transfer (id, a, b, amount) VALUES (?1, ?2, ?3, ?4)", int64(transfer.ID), int64(from), int64(to), transfer.Amount),
		d1.SQL("UPDATE account SET balance = balance - ?1 WHERE id = ?2", transfer.Amount, int64(from)))
}

func bankTold(reply *d1.Reply) (history.Value, error) {
	bank := history.Bank{}
	for row := range reply.Results[0].Rows {
		balance, err := reply.Results[0].Int(row, 0)
		if err != nil {
			return nil, err
		}
		bank.Balances = append(bank.Balances, balance)
	}
	var err error
	bank.Transfers, err = reply.Results[1].Int(0, 0)
	return bank, err
}

// finalD1Bank reads all accounts, and then every transfer up to the last that they show.
func finalD1Bank(worker *Worker) {
	for database := 0; database < d1Databases; database++ {
		name := databaseName(database)
		index := worker.Log.Invoke(worker.process, check.FinalRead, name, nil)
		var bank history.Bank
		known := worker.until("accounts of "+name, func() bool {
			reply, _, err := worker.d1(worker.node, database).Batch("", d1.SQL("SELECT balance FROM account ORDER BY id"),
				d1.SQL("SELECT coalesce(max(n), 0) FROM transfer"))
			if err == nil {
				var told history.Value
				if told, err = bankTold(reply); err == nil {
					bank = told.(history.Bank)
				}
			}
			worker.noteBroken(err)
			return err == nil
		})
		for last := int64(0); known && last < bank.Transfers; {
			known = worker.until("transfers of "+name, func() bool {
				err := worker.bankPage(database, &bank, &last)
				worker.noteBroken(err)
				return err == nil
			})
		}
		if !known { // until has called it an anomaly
			worker.Log.Complete(index, history.Fail, nil, "no answer")
			continue
		}
		worker.Log.Complete(index, history.OK, bank, "")
	}
}

// bankPage reads on after the transfer that is the last-th, and makes last the greatest if that was the end.
func (worker *Worker) bankPage(database int, bank *history.Bank, last *int64) error {
	reply, _, err := worker.d1(worker.node, database).Batch("", d1.SQL(
		"SELECT n, id, a, b, amount FROM transfer WHERE n > ?1 AND n <= ?2 ORDER BY n LIMIT ?3", *last, bank.Transfers, int64(bankPage)))
	if err != nil {
		return err
	}
	rows := reply.Results[0].Rows
	for _, each := range rows {
		var row [5]int64
		for column := range row {
			if column >= len(each) || json.Unmarshal(each[column], &row[column]) != nil {
				return fmt.Errorf("%w: a transfer's row: %s", s3.ErrBroken, each)
			}
		}
		*last = row[0]
		bank.Made = append(bank.Made, history.Transfer{ID: history.Number(row[1]), From: int(row[2]), To: int(row[3]), Amount: row[4]})
	}
	if len(rows) < bankPage {
		*last = bank.Transfers
	}
	return nil
}
