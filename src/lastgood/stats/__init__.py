"""Pure mathematics: sequential tests, intervals, histograms. What holds, holds at every look, for ever.

Belongs here: formulae on plain numbers, with their hypothesis, guarantee and source. Does not belong
here: any word of the field (release, guardrail, candidate), any input or output, any clock or chance.

Every test is a module with the same four words: ``initial`` gives the state, ``update`` takes the counts of one stratum and
gives the next state, ``log_e`` is the evidence so far (a natural logarithm, 0 before any data), ``reached`` the decision.
States are frozen, small, survive JSON bit for bit, and follow from the strata alone: anyone with the log of strata
can compute them again. A stratum is what both arms did in one interval; counts of replicas are added first, so
it does not matter how they were split. An empty stratum changes nothing. Arm 1 is asked about, arm 0 compared with.

What to use when
    is arm 1's rate of bad trials worse, by odds       :mod:`lastgood.stats.score`
    the same by a difference of rates                  :mod:`lastgood.stats.margin`
    the same at a trial now and then, by a fair coin   :mod:`lastgood.stats.coinflip`
    the same where both arms met the same trials       :mod:`lastgood.stats.paired`, :mod:`lastgood.stats.paired_margin`
    are arm 1's values larger (slower)                 :mod:`lastgood.stats.ranks`
    is arm 1's mean lower, scores from 0 to 1          :mod:`lastgood.stats.means`
    do the distributions differ by more than a margin  :mod:`lastgood.stats.shift`
    is arm 1 shown to be less than a margin worse      :mod:`lastgood.stats.noninferiority`
    has anything become worse, at any time             :mod:`lastgood.stats.detector`, by a difference
                                                       :mod:`lastgood.stats.detector_margin`, where both arms met the
                                                       same trials :mod:`lastgood.stats.detector_pairs`
    do units fall into groups as they should           :mod:`lastgood.stats.shares`
    an interval to show: rate, difference, quantile    :mod:`lastgood.stats.sequences`; for one look :mod:`lastgood.stats.rates`
    histograms of values without a limit               :mod:`lastgood.stats.quantiles`

Several tests at once: give each a part of one ``alpha`` beforehand, and the chance that any of them is ever wrongly
reached is at most their sum. What all must show, as in non-inferiority, needs no parts.

What they are made of: :mod:`lastgood.stats.money` (experts' bets), :mod:`lastgood.stats.boosting` (nothing wasted past the bound),
:mod:`lastgood.stats.hypergeometric` (the law given a stratum's margins), :mod:`lastgood.stats.projection` (bets against a
difference), :mod:`lastgood.stats.shapes` (what slower values look like).
"""
