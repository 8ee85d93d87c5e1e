package check

import (
	"testing"

	"bindery/jepsen/history"
)

func pay(id history.Number, amount int64) history.Transfer {
	return history.Transfer{ID: id, From: 0, To: 1, Amount: amount}
}

func paid(begin, end int, outcome history.Type, what history.Transfer) line {
	return line{f: "transfer", value: what, begin: begin, end: end, outcome: outcome, got: what}
}

// bank is one in which the first account has given so much to the second.
func bank(moved int64, transfers int64, made ...history.Transfer) history.Bank {
	out := history.Bank{Balances: make([]int64, BankAccounts), Transfers: transfers, Made: made}
	for i := range out.Balances {
		out.Balances[i] = BankBalance
	}
	out.Balances[0] -= moved
	out.Balances[1] += moved
	return out
}

func saw(f string, begin int, what history.Bank) line {
	return line{f: f, begin: begin, end: begin + 1, outcome: history.OK, got: what}
}

func TestBanks(t *testing.T) {
	ok, info, fail := history.OK, history.Info, history.Fail
	torn := bank(5, 1)
	torn.Balances[1] -= 5
	for _, each := range []struct {
		name  string
		sound bool
		lines []line
	}{
		{"a transfer", true, []line{paid(1, 2, ok, pay(1, 5)), saw("read", 3, bank(5, 1)), saw(FinalRead, 9, bank(5, 1, pay(1, 5)))}},
		{"a read beside a transfer sees either", true, []line{paid(1, 8, ok, pay(1, 5)), saw("read", 2, bank(0, 0)), saw("read", 4, bank(5, 1)),
			saw(FinalRead, 9, bank(5, 1, pay(1, 5)))}},
		{"an unknown one that was made", true, []line{paid(1, 2, info, pay(1, 5)), saw(FinalRead, 9, bank(5, 1, pay(1, 5)))}},
		{"an unknown one that was not", true, []line{paid(1, 2, info, pay(1, 5)), saw(FinalRead, 9, bank(0, 0))}},
		{"a refused one", true, []line{paid(1, 2, fail, pay(1, 5)), saw(FinalRead, 9, bank(0, 0))}},

		{"a total that is less", false, []line{paid(1, 8, ok, pay(1, 5)), saw("read", 2, torn), saw(FinalRead, 9, bank(5, 1, pay(1, 5)))}},
		{"a lost one", false, []line{paid(1, 2, ok, pay(1, 5)), saw(FinalRead, 9, bank(0, 0))}},
		{"one made twice", false, []line{paid(1, 2, ok, pay(1, 5)), paid(1, 2, info, pay(2, 5)), saw(FinalRead, 9, bank(10, 2, pay(1, 5), pay(1, 5)))}},
		{"a refused one that was made", false, []line{paid(1, 2, fail, pay(1, 5)), saw(FinalRead, 9, bank(5, 1, pay(1, 5)))}},
		{"one that nobody asked for", false, []line{paid(1, 2, info, pay(2, 5)), saw(FinalRead, 9, bank(5, 1, pay(1, 5)))}},
		{"another amount", false, []line{paid(1, 2, ok, pay(1, 5)), saw(FinalRead, 9, bank(6, 1, pay(1, 6)))}},
		{"accounts that are not what the transfers make them", false, []line{paid(1, 2, ok, pay(1, 5)), saw(FinalRead, 9, bank(6, 1, pay(1, 5)))}},
		{"a stale read", false, []line{paid(1, 2, ok, pay(1, 5)), saw("read", 3, bank(0, 0)), saw(FinalRead, 9, bank(5, 1, pay(1, 5)))}},
		{"a read of what had not begun", false, []line{saw("read", 1, bank(5, 1)), paid(4, 5, ok, pay(1, 5)), saw(FinalRead, 9, bank(5, 1, pay(1, 5)))}},
		{"a balance below nothing", false, []line{paid(1, 2, ok, pay(1, 105)), saw(FinalRead, 9, bank(105, 1, pay(1, 105)))}},
		{"no read in the end", false, []line{paid(1, 2, ok, pay(1, 5))}},
	} {
		if got := Banks(events(each.lines...)).Anomalies; (len(got) == 0) != each.sound {
			t.Errorf("%s: %v", each.name, got)
		}
	}
}
