package io.github.pushsidecar.client;

import build.buf.protovalidate.Validator;
import build.buf.protovalidate.ValidatorFactory;
import build.buf.protovalidate.exceptions.ValidationException;
import build.buf.validate.FieldPath;
import build.buf.validate.FieldPathElement;
import build.buf.validate.MessageRules;
import io.github.pushsidecar.xg.v1.PushRequest;
import java.util.List;

/**
 * The rules of the contract that stand in the proto files, checked without a call.
 *
 * <p>The sidecar checks them all again, and those that need a JSON parser or its configuration. Fields and rules are named
 * as the sidecar names them.
 */
public final class PushRules {
  private static final Validator VALIDATOR = ValidatorFactory.newBuilder().build();

  private PushRules() {}

  /**
   * Returns every broken rule; empty when there is none. The first call takes some hundred milliseconds, since it compiles
   * the rules.
   *
   * @throws IllegalArgumentException when a rule cannot be evaluated, as with a Duration outside of its type's range
   */
  public static List<Violation> check(PushRequest request) {
    try {
      return VALIDATOR.validate(request).toProto().getViolationsList().stream().map(PushRules::violation).toList();
    } catch (ValidationException e) {
      throw new IllegalArgumentException("the rules cannot be evaluated on this request", e);
    }
  }

  private static Violation violation(build.buf.validate.Violation found) {
    String path = path(found.getField());
    if (isAcrossFields(found)) {
      String field = found.getRuleId().substring(0, found.getRuleId().indexOf('.'));
      path = path.isEmpty() ? field : path + "." + field;
    }
    return new Violation(path, found.getRuleId(), found.getMessage());
  }

  /** Such a rule has the path of its message; the contract names the field in the rule's id, {@code <field>.<rule>}. */
  private static boolean isAcrossFields(build.buf.validate.Violation found) {
    if (!found.hasRule()) {
      return found.getRuleId().contains(".");
    }
    FieldPathElement kind = found.getRule().getElements(0);
    // The number alone does not tell: in the rules of a field it is that of int32.
    return kind.getFieldName().equals("cel") && kind.getFieldNumber() == MessageRules.CEL_FIELD_NUMBER;
  }

  private static String path(FieldPath path) {
    StringBuilder text = new StringBuilder();
    for (FieldPathElement element : path.getElementsList()) {
      text.append(text.isEmpty() ? "" : ".").append(element.getFieldName());
      switch (element.getSubscriptCase()) {
        case INDEX -> text.append('[').append(element.getIndex()).append(']');
        case STRING_KEY -> text.append('[').append(element.getStringKey()).append(']');
        case BOOL_KEY -> text.append('[').append(element.getBoolKey()).append(']');
        case INT_KEY -> text.append('[').append(element.getIntKey()).append(']');
        case UINT_KEY -> text.append('[').append(element.getUintKey()).append(']');
        case SUBSCRIPT_NOT_SET -> {}
      }
    }
    return text.toString();
  }
}
