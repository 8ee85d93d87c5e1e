package check

import (
	"fmt"
	"sort"
	"time"

	"bindery/jepsen/history"
)

// The accounts of a bank, and what each holds in the beginning.
const (
	BankAccounts = 8
	BankBalance  = 100
)

// Banks checks that in every read the total is what it was, that a read shows at least as many transfers as were acknowledged
// before it began and at most as many as had begun when it ended; and that in the end each acknowledged transfer is there
// exactly once, none that was refused is, and the accounts are what the transfers make them.
func Banks(events []history.Event) Result {
	result := Result{Counts: map[string]int{}}
	banks := map[string][]history.Operation{}
	for _, operation := range history.Operations(events) {
		result.Counts[string(operation.Outcome)]++
		banks[operation.Key] = append(banks[operation.Key], operation)
	}
	for name, operations := range banks {
		judgeBank(operations, func(format string, words ...interface{}) {
			result.Anomalies = append(result.Anomalies, name+": "+fmt.Sprintf(format, words...))
		})
	}
	sort.Strings(result.Anomalies)
	return result
}

func judgeBank(operations []history.Operation, tell func(string, ...interface{})) {
	transfers := map[history.Number]history.Operation{}
	for _, operation := range operations {
		if transfer, ok := operation.Value.(history.Transfer); ok {
			transfers[transfer.ID] = operation
		}
	}
	times, finals := timesOf(transfers), 0
	for _, operation := range operations {
		if operation.Outcome != history.OK {
			continue
		}
		bank, isRead := operation.End.Value.(history.Bank)
		if !isRead {
			continue
		}
		judgeBalances(operation, bank, times, tell)
		if operation.F == FinalRead {
			finals++
			judgeMade(operation, bank, transfers, tell)
		}
	}
	if finals == 0 {
		tell("it was never read in the end")
	}
}

// transferTimes are when transfers began that were not refused, and when they were acknowledged, each in order.
type transferTimes struct{ begun, acknowledged []time.Duration }

func timesOf(transfers map[history.Number]history.Operation) transferTimes {
	var times transferTimes
	for _, transfer := range transfers {
		if transfer.Outcome != history.Fail {
			times.begun = append(times.begun, transfer.Time)
		}
		if transfer.Outcome == history.OK {
			times.acknowledged = append(times.acknowledged, transfer.End.Time)
		}
	}
	for _, each := range [][]time.Duration{times.begun, times.acknowledged} {
		sort.Slice(each, func(i, j int) bool { return each[i] < each[j] })
	}
	return times
}

func (times transferTimes) acknowledgedBefore(at time.Duration) int64 {
	return int64(sort.Search(len(times.acknowledged), func(i int) bool { return times.acknowledged[i] >= at }))
}

func (times transferTimes) begunUntil(at time.Duration) int64 {
	return int64(sort.Search(len(times.begun), func(i int) bool { return times.begun[i] > at }))
}

// judgeBalances looks at one read.
func judgeBalances(read history.Operation, bank history.Bank, times transferTimes, tell func(string, ...interface{})) {
	total := int64(0)
	for _, balance := range bank.Balances {
		total += balance
		if balance < 0 {
			tell("the read at %d shows a balance of %d", read.Index, balance)
		}
	}
	if len(bank.Balances) != BankAccounts || total != BankAccounts*BankBalance {
		tell("the read at %d shows %d in %d accounts: %v", read.Index, total, len(bank.Balances), bank.Balances)
	}
	least := times.acknowledgedBefore(read.Time)
	most := times.begunUntil(read.End.Time)
	if bank.Transfers < least || bank.Transfers > most {
		tell("the read at %d shows %d transfers; %d were acknowledged before it, and %d begun", read.Index, bank.Transfers, least, most)
	}
}

// judgeMade looks at what was made in the end.
func judgeMade(read history.Operation, bank history.Bank, transfers map[history.Number]history.Operation,
	tell func(string, ...interface{})) {
	balances := make([]int64, BankAccounts)
	for i := range balances {
		balances[i] = BankBalance
	}
	seen := map[history.Number]bool{}
	for _, made := range bank.Made {
		asked, known := transfers[made.ID]
		switch {
		case !known || asked.Outcome == history.Fail:
			tell("transfer %d was made, and never asked for or refused", made.ID)
		case seen[made.ID]:
			tell("transfer %d was made twice", made.ID)
		case asked.Value != history.Value(made):
			tell("transfer %d was made as %s, and asked for as %s", made.ID, made.EDN(), asked.Value.EDN())
		}
		seen[made.ID] = true
		if made.From >= 0 && made.From < BankAccounts && made.To >= 0 && made.To < BankAccounts {
			balances[made.From] -= made.Amount
			balances[made.To] += made.Amount
		}
	}
	for id, asked := range transfers {
		if asked.Outcome == history.OK && !seen[id] {
			tell("transfer %d was acknowledged, and is not there in the end", id)
		}
	}
	if fmt.Sprint(balances) != fmt.Sprint(bank.Balances) {
		tell("the accounts are %v in the end, and the transfers make them %v", bank.Balances, balances)
	}
	if int64(len(bank.Made)) != bank.Transfers {
		tell("%d transfers are there in the end, numbered up to %d", len(bank.Made), bank.Transfers)
	}
}
