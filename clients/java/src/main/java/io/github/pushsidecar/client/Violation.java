package io.github.pushsidecar.client;

/**
 * One broken rule of the contract.
 *
 * @param field path of the field, such as {@code token_list.tokens[3]}
 * @param rule id of the rule, such as {@code string.max_len}
 * @param description what is wrong, in words that never quote the value
 */
public record Violation(String field, String rule, String description) {}
