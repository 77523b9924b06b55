package io.github.pushsidecar.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.util.JsonFormat;
import io.github.pushsidecar.xg.v1.PushRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Checks the contract cases that all languages share: the proto's rules mean the same in Java as in the sidecar. */
class ContractCasesTest {
  private static final Path FOLDER = Path.of(System.getProperty("contract.cases"));
  private static final Set<String> RULES_OF_THE_SIDECAR = Set.of("json.object", "extra.reserved_key");
  private static final Pattern REPEATED_TEXT = Pattern.compile("\\$\\{(.+)\\*(\\d+)}", Pattern.DOTALL);

  @TestFactory
  List<DynamicTest> protoRulesFindWhatTheCaseSays() throws IOException {
    List<DynamicTest> tests = new ArrayList<>();
    for (Path file : caseFiles()) {
      JsonObject table = JsonParser.parseString(Files.readString(file)).getAsJsonObject();
      for (JsonElement element : table.getAsJsonArray("cases")) {
        JsonObject row = element.getAsJsonObject();
        String name = file.getFileName().toString().replace(".json", "") + ": " + row.get("name").getAsString();
        tests.add(DynamicTest.dynamicTest(name, () -> check(row)));
      }
    }
    if (tests.isEmpty()) {
      throw new IllegalStateException("no contract cases in " + FOLDER);
    }
    return tests;
  }

  private static List<Path> caseFiles() throws IOException {
    try (Stream<Path> files = Files.list(FOLDER)) {
      return files.filter(file -> file.toString().endsWith(".json")).sorted().toList();
    }
  }

  private static void check(JsonObject row) throws IOException {
    PushRequest.Builder request = PushRequest.newBuilder();
    JsonFormat.parser().merge(expand(row.get("request")).toString(), request);

    List<Violation> violations = PushRules.check(request.build());
    violations.forEach(violation -> assertFalse(violation.description().isBlank(), violation.toString()));
    List<String> found =
        violations.stream().map(violation -> violation.field() + " " + violation.rule()).sorted().toList();

    assertFalse(request.toString().contains("${"), "a short form that this test does not know");
    assertEquals(expected(row.getAsJsonObject("expect")), found);
  }

  /** Returns what the proto's rules shall find: less than the sidecar, which also parses, renders and knows its apps. */
  private static List<String> expected(JsonObject expect) {
    if (!expect.has("violations")) {
      return List.of();
    }
    boolean isPartly = expect.get("checked_by").getAsString().equals("sidecar");
    return expect.getAsJsonArray("violations").asList().stream()
        .map(JsonElement::getAsJsonObject)
        .filter(violation -> !(isPartly && RULES_OF_THE_SIDECAR.contains(violation.get("rule").getAsString())))
        .map(violation -> violation.get("field").getAsString() + " " + violation.get("rule").getAsString())
        .sorted()
        .toList();
  }

  /** Writes out the two short forms of the case files: {@code ${x*512}} as a text, and {@code ${repeat}} in a list. */
  private static JsonElement expand(JsonElement element) {
    if (element.isJsonObject()) {
      JsonObject expanded = new JsonObject();
      element.getAsJsonObject().entrySet().forEach(entry -> expanded.add(entry.getKey(), expand(entry.getValue())));
      return expanded;
    }
    if (element.isJsonArray()) {
      JsonArray expanded = new JsonArray();
      element.getAsJsonArray().forEach(item -> expandItem(item, expanded));
      return expanded;
    }
    if (element.isJsonPrimitive() && element.getAsJsonPrimitive().isString()) {
      Matcher repeated = REPEATED_TEXT.matcher(element.getAsString());
      if (repeated.matches()) {
        return new JsonPrimitive(repeated.group(1).repeat(Integer.parseInt(repeated.group(2))));
      }
    }
    return element;
  }

  private static void expandItem(JsonElement item, JsonArray into) {
    if (!item.isJsonObject() || !item.getAsJsonObject().has("${repeat}")) {
      into.add(expand(item));
      return;
    }
    JsonObject repeat = item.getAsJsonObject().getAsJsonObject("${repeat}");
    for (int i = 0; i < repeat.get("count").getAsInt(); i++) {
      into.add(repeat.get("item").getAsString().replace("${i}", Integer.toString(i)));
    }
  }
}
